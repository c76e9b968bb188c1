"""The command `demo`: the story of an order refunded, from a program to a proof."""

from .command import register, run

__all__ = ["register", "run"]
