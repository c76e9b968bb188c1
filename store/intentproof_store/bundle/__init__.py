"""Bundles: what an auditor takes away (docs/bundle.md). All but `making` is pure."""
