// Opens a cosigned checkpoint with golang.org/x/mod/sumdb/note, which knows nothing of ours.
//
// The witness's verifier is written here from C2SP tlog-cosignature alone. Arguments: the log's
// vkey, then the witness's; the note is on stdin. Prints a line for each key that signed.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", seconds, msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func parse(vkey string) witness {
	parts := strings.SplitN(vkey, "+", 3)
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	check(err)
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	check(err)
	if raw[0] != 4 || len(raw) != 33 {
		check(fmt.Errorf("not a witness's key"))
	}
	return witness{parts[0], uint32(hash), raw[1:]}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	raw, err := io.ReadAll(os.Stdin)
	check(err)
	log, err := note.NewVerifier(os.Args[1])
	check(err)
	opened, err := note.Open(raw, note.VerifierList(log, parse(os.Args[2])))
	check(err)
	for _, signature := range opened.Sigs {
		fmt.Printf("%s %08x\n", signature.Name, signature.Hash)
	}
}
