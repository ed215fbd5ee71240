"""The errors that end the local server; each becomes one line for the user."""


class CannotStart(Exception):
    """Raised before the parts run: a setting, the port, the data folder or Redis is not usable."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CannotContinue(Exception):
    """Raised when a part cannot be started or has ended too often; the message names it and the cause."""
