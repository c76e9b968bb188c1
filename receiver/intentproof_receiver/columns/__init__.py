"""Spans of one shape, from bytes to events in columns: the fast half of decoding and mapping."""

from .block import Mapped, map_block

__all__ = ["Mapped", "map_block"]
