package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func read(parts ...string) string {
	raw, err := os.ReadFile(filepath.Join(parts...))
	must(err)
	return string(raw)
}

func files(parts ...string) []string {
	found, err := filepath.Glob(filepath.Join(parts...))
	must(err)
	return found
}

func hashes(lines []string) (proof []tlog.Hash) {
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		must(err)
		proof = append(proof, hash)
	}
	return
}

// open returns the size and root of a checkpoint that one of the keys signed.
func open(raw string, keys note.Verifiers) (size int64, root tlog.Hash) {
	signed, err := note.Open([]byte(raw), keys)
	must(err)
	lines := strings.Split(signed.Text, "\n")
	_, err = fmt.Sscan(lines[1], &size)
	must(err)
	root, err = tlog.ParseHash(lines[2])
	must(err)
	return
}

func main() {
	bundle := os.Args[1]
	var verifiers []note.Verifier
	for _, path := range files(bundle, "keys", "*.vkey") {
		verifier, err := note.NewVerifier(strings.TrimSpace(read(path)))
		must(err)
		verifiers = append(verifiers, verifier)
	}
	keys := note.VerifierList(verifiers...)
	for _, path := range files(bundle, "proofs", "*.tlog-proof") {
		head, checkpoint, _ := strings.Cut(read(path), "\n\n")
		lines := strings.Split(head, "\n")
		var index int64
		_, err := fmt.Sscanf(lines[2], "index %d", &index)
		must(err)
		size, root := open(checkpoint, keys)
		name := strings.TrimSuffix(filepath.Base(path), ".tlog-proof")
		leaf := tlog.RecordHash([]byte(read(bundle, "events", name+".leaf")))
		must(tlog.CheckRecord(hashes(lines[3:]), size, root, index, leaf))
	}
	for _, path := range files(bundle, "logs", "*", "growth.*") {
		head, checkpoint, _ := strings.Cut(read(path), "\n\n")
		lines := strings.Split(head, "\n")
		old := strings.TrimPrefix(lines[0], "old ")
		oldSize, oldRoot := open(read(filepath.Dir(path), "checkpoint."+old), keys)
		size, root := open(checkpoint, keys)
		must(tlog.CheckTree(hashes(lines[1:]), size, root, oldSize, oldRoot))
	}
	fmt.Println("every proof holds under the keys in", bundle)
}
