"""The error that keeps the local server from starting: one line for people and an exit code."""


class CannotStart(Exception):
    """Raised before or while the parts are started; the message says what to do about it."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
