"""A second verifier of bundles, made from docs/bundle.md with nothing but Python's own library.

`python second_verifier.py BUNDLE.tar VKEYS_FILE`. Of report.html and README.txt it says only that
they are what MANIFEST names; what it prints itself is proved. Ed25519 is by RFC 8032, slow.
"""

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Keys = dict[tuple[str, bytes], bytes]
Point = tuple[int, int]
Note = tuple[str, int, bytes]


def need(claim: object, why: str) -> None:
    if not claim:
        raise ValueError(why)


def sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def unbase64(text: str) -> bytes:
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 that is not canonical")
    return raw


def point(raw: bytes) -> Point:
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    need(y < P and (x * x - square) % P == 0, "not a point of the curve")
    return (P - x if x % 2 != raw[31] >> 7 else x), y


def add(a: Point, b: Point) -> Point:
    t = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + t, -1, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, P)
    return x % P, y % P


def times(number: int, a: Point) -> Point:
    total = (0, 1)
    while number:
        total = add(total, a) if number & 1 else total
        a, number = add(a, a), number >> 1
    return total


def check_signature(key: bytes, message: bytes, signature: bytes) -> None:
    need(len(signature) == 64 and times(8, point(key)) != (0, 1), "no key, or no signature")
    s = int.from_bytes(signature[32:], "little")
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    h = int.from_bytes(digest, "little") % L
    right = add(point(signature[:32]), times(h, point(key)))
    base = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    need(s < L and times(s, base) == right, "a signature does not hold")


def read_keys(text: str) -> Keys:
    keys = {}
    for name, key_id, encoded in (line.split("+", 2) for line in text.split()):
        raw = unbase64(encoded)
        wanted = sha256(name.encode() + b"\n" + raw)[:4]
        need(len(raw) == 33 and raw[0] == 1 and key_id == wanted.hex(), "not a vkey")
        keys[name, wanted] = raw[1:]
    return keys


def read_tar(raw: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    at = 0
    while raw[at : at + 512].strip(b"\0"):
        name, size = raw[at : at + 100].rstrip(b"\0").decode(), int(raw[at + 124 : at + 135], 8)
        start = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
        start += b"%011o\0%011o\0" % (size, 0)
        end = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
        head = start + b"%06o\0 " % (sum(start) + 256 + sum(end)) + end
        need(raw[at : at + 512] == head and name > max(files, default=""), "not such a header")
        padded = raw[at + 512 : at + 512 + size + -size % 512]
        need(not padded[size:].strip(b"\0"), "padding that is not zero")
        files[name] = padded[:size]
        at += 512 + size + -size % 512
    need(raw[at:] == bytes(1024), "the archive does not end as it must")
    return files


def open_note(raw: bytes, keys: Keys) -> Note:
    """Origin, size and root of a checkpoint that one of the keys signed."""
    text, _, lines = raw.decode().rpartition("\n\n")
    origin, size, root = text.split("\n")
    signed = 0
    for line in lines.removesuffix("\n").split("\n"):
        dash, name, encoded = line.split(" ")
        signature = unbase64(encoded)
        need(dash == "\u2014" and lines[-1] == "\n", "not a line of a signature")
        if (name, signature[:4]) in keys:
            need(name == origin, "a key of another log")
            check_signature(keys[name, signature[:4]], f"{text}\n".encode(), signature[4:])
            signed += 1
    need(signed and str(int(size)) == size, "no key that is trusted signed this")
    return origin, int(size), unbase64(root)


def climb(fn: int, sn: int, old: bytes, new: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:
    """The roots that a proof leads to: RFC 9162 sections 2.1.3.2 and 2.1.4.2."""
    for c in proof:
        need(sn, "a proof that is too long")
        if fn & 1 or fn == sn:
            old, new = sha256(b"\x01" + c + old), sha256(b"\x01" + c + new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = sha256(b"\x01" + new + c)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "a proof that is too short")
    return old, new


def check_growth(old: Note, new: Note, proof: list[bytes]) -> None:
    need(old[0] == new[0] and 0 < old[1] < new[1] and proof, "not a later checkpoint")
    path = [old[2], *proof] if old[1] & (old[1] - 1) == 0 else proof
    fn, sn = old[1] - 1, new[1] - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    need(climb(fn, sn, path[0], path[0], path[1:]) == (old[2], new[2]), "it did not only grow")


def check_event(files: dict[str, bytes], notes: dict[str, Note], number: str) -> dict[str, str]:
    head, _, note = files[f"proofs/{number}.tlog-proof"].decode().partition("\n\n")
    first, extra, index, *proof = head.split("\n")
    place = int(index.removeprefix("index "))
    need([first, index] == ["c2sp.org/tlog-proof@v1", f"index {place}"], "not a tlog-proof")
    known = [name for name in notes if files[name] == note.encode()]
    origin, size, root = notes[known[0]]  # it must be here
    leaf = files[f"events/{number}.leaf"]
    held = json.dumps({"leaf": leaf.decode()}, ensure_ascii=False, separators=(",", ":"))
    need(extra == f"extra {base64.b64encode(held.encode()).decode()}", "the proof of another leaf")
    start = sha256(b"\x00" + leaf)
    _, found = climb(place, size - 1, start, start, [unbase64(line) for line in proof])
    need(0 <= place < size and found == root, "the leaf is not in the log")
    members: dict[str, str] = json.loads(leaf)
    need(origin.endswith(f"/{members['tenant']}/{members['writer']}"), "a leaf of another log")
    need(members["kind"] in ("event", "conflict"), "a leaf of another kind")
    for half in ("context", "payload"):
        raw = files.get(f"events/{number}.{half}")
        if raw is not None:
            need(raw.startswith(f"intentproof.{half}.v1\0".encode()), "a half without its domain")
            need(members[half] == f"sha256:{sha256(raw).hex()}", "not what was committed to")
    return members


def verify(raw: bytes, trusted: str) -> list[dict[str, str]]:
    """The leaves that a bundle proves, in order. Raises what a damaged one leads to."""
    files, keys = read_tar(raw), read_keys(trusted)
    names = sorted(files.keys() - {"MANIFEST"})
    manifest = "".join(f"{sha256(files[name]).hex()}  {name}\n" for name in names)
    need(files["MANIFEST"].decode() == manifest, "not the files that MANIFEST names")
    head = json.loads(files["bundle.json"])
    is_note = re.compile(r"logs/([a-z0-9-]+)/checkpoint\.([0-9]+)").fullmatch
    notes = {name: open_note(files[name], keys) for name in names if is_note(name)}
    for name, (origin, size, _) in notes.items():
        _, writer, file = name.split("/")
        need(origin.endswith(f"/{head['tenant']}/{writer}"), "a checkpoint of another log")
        need(file == f"checkpoint.{size}", "a checkpoint under another name")
    for name in [name for name in names if "/growth." in name]:
        folder, _, sizes = name.rpartition("growth.")
        old, new = (f"{folder}checkpoint.{size}" for size in sizes.split("-"))
        first, *lines = files[name].removesuffix(b"\n\n" + files[new]).decode().split("\n")
        need(first == f"old {notes[old][1]}", "another proof")
        check_growth(notes[old], notes[new], [unbase64(line) for line in lines])
    leaves = [check_event(files, notes, f"{n + 1:06d}") for n in range(head["events"])]
    asked = head["asked"].get("trace_id")
    for leaf in leaves:
        need(leaf["tenant"] == head["tenant"], "an event of another tenant")
        need(asked in (None, leaf.get("trace_id")), "an event of another trace")
    named = {name[7:13] for name in names if re.match("events/|proofs/", name)}
    need(len(named) == len(leaves) > 0, "events without a proof")
    return leaves


if __name__ == "__main__":
    try:
        for each in verify(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_text()):
            print(each["kind"], each["event_id"], ascii(each["action"]))  # noqa: T201 - a script
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        sys.exit(f"refused: {error}")
