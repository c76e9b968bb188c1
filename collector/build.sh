#!/bin/sh
# Builds the Collector of manifest.yaml once and prints the path of the binary, alone on stdout.
#
# The binary lives outside the tree, under a name made of the manifest's SHA-256: another manifest
# is another binary, and a binary that exists is never built again. It appears there by one rename,
# so an interrupted build is never taken for a finished one.
#
# Exit codes: 0 built, or already there; 7 Go is missing; the builder's own where it fails.
set -eu

builder=go.opentelemetry.io/collector/cmd/builder@v0.159.0
manifest=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/manifest.yaml

say() { printf '%s\n' "collector: $*" >&2; }

sha256() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi; }

version=$(sha256 "$manifest" | sed -n 's/^\([0-9a-f]\{12\}\)[0-9a-f]\{52\} .*/\1/p')
: "${version:?needs sha256sum or shasum}"
cache=${INTENTPROOF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/intentproof-otel}/collector
binary=$cache/$version/otelcol-intentproof

if [ -x "$binary" ]; then
    printf '%s\n' "$binary"
    exit 0
fi

if ! command -v go >/dev/null; then
    say "Go is missing: install Go 1.25 or newer (https://go.dev/dl/), then run this again."
    exit 7
fi

mkdir -p "$cache/$version"
# Beside its destination: a rename is atomic only within one file system.
work=$(mktemp -d "$cache/$version/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "building $binary (a few minutes the first time)"
GOBIN=$work go install "$builder" >&2
cp "$manifest" "$work/manifest.yaml"
(cd "$work" && CGO_ENABLED=0 ./builder --config=manifest.yaml) >&2

mv "$work/_build/otelcol-intentproof" "$binary" # from here on the build is finished
say "built"
printf '%s\n' "$binary"
