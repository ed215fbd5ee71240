"""The errors of requests to URLs that clients name, for audio and for webhooks."""

from enum import Enum

from shared.errors import InvalidRequest, ServerError


class Refusal(Enum):
    """The reason why the server sends no request to a URL.

    Clients get the same message for PRIVATE and UNRESOLVED: it must not show which internal names exist.
    """

    MALFORMED = "malformed"  # not a URL, or one without a host, or longer than allowed
    SCHEME = "scheme"  # neither http nor https
    CREDENTIALS = "credentials"  # it contains a user name or password
    PORT = "port"  # a port of a service other than a web server
    PRIVATE = "private"  # an address of its host is not public
    UNRESOLVED = "unresolved"  # its host has no address, or the look-up failed


_NOT_PUBLIC = "its host does not exist or has no public address"
_REFUSED = {
    Refusal.MALFORMED: "it is not a complete URL such as https://example.com/path",
    Refusal.SCHEME: "it must begin with http:// or https://",
    Refusal.CREDENTIALS: "it contains a user name or password. Remove them",
    Refusal.PORT: "its port is not allowed. Use 80, 443, or a port from 1024 on",
    Refusal.PRIVATE: _NOT_PUBLIC,
    Refusal.UNRESOLVED: _NOT_PUBLIC,
}


class UrlInputOff(InvalidRequest):
    """The form has a `url` instead of a file, and URL_INPUT is off."""

    def __init__(self) -> None:
        super().__init__("URL input is off (URL_INPUT). Send the audio in a part named `file`.", param="url")


class UrlRefused(InvalidRequest):
    """The server sends no request to a URL because of its text or its host's addresses."""

    def __init__(self, reason: Refusal, *, param: str) -> None:
        super().__init__(f"The {param} cannot be used: {_REFUSED[reason]}.", param=param)
        self.reason = reason
        """The reason for logs, with more detail than the message."""


class UrlUnreachable(InvalidRequest):
    """The server could not connect to the host of a URL."""

    def __init__(self, scheme: str) -> None:
        fault = " or has no valid certificate" if scheme == "https" else ""
        super().__init__(
            f"The host of the url is unreachable{fault}. Check the url, or send the audio in a part named "
            "`file`.",
            param="url",
        )


class UrlFailed(InvalidRequest):
    """The host of a URL answered, but did not send the audio."""

    def __init__(self, fault: str) -> None:
        super().__init__(
            f"Fetching the audio from the url failed: {fault}. Check the url, or send the audio in a part "
            "named `file`.",
            param="url",
        )


class TooManyFetches(ServerError):
    """The server or the API key already fetches audio from as many URLs as allowed."""

    def __init__(self, limit: int, setting: str) -> None:
        super().__init__(
            f"Too many downloads from URLs at once (limit {limit}, {setting}). Retry later, or send the "
            "audio in a part named `file`.",
            param="url",
        )
        self.limit = setting
