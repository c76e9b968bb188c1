"""What the bridge may raise: only while it is being set up, never once spans run.

* BridgeError
  + SettingError   an option or an environment variable cannot be used
  + ProofError   `@proof` stands on something that it cannot wrap
"""


class BridgeError(Exception):
    """Base of everything that this room raises."""


class SettingError(BridgeError, ValueError):
    """A setting that cannot be used; `name` is the option or the environment variable."""

    def __init__(self, name: str, value: object, wanted: str) -> None:
        super().__init__(f"{name}={value!r}: {wanted}")
        self.name = name


class ProofError(BridgeError, TypeError):
    """`@proof` was given something other than a plain function, or a blank intent."""
