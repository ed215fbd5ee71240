"""The secrets that webhooks are signed with: their format, and the choice for a job."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
"""The length of a secret by the Standard Webhooks convention, before it is written in base64."""


class BadWebhookSecret(ValueError):
    """A secret that cannot be used; the message shows no part of it."""


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """The secrets of the server, several during a change, and those of API keys by the keys' names."""

    of_server: tuple[str, ...] = field(default=(), repr=False)
    of_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def find(self, key_name: str, *, must_be_own: bool) -> tuple[str, ...]:
        """Return the secrets that sign webhooks of an API key's jobs. Without any they cannot be signed.

        `key_name` is empty for jobs without an API key. With `must_be_own` the server's secrets do not stand
        in for the key's own: the receiver would take the message for a forgery.
        """
        own = self.of_keys.get(key_name)
        if own:
            return (own,)
        return () if must_be_own else self.of_server


def parse_server_secrets(setting: str) -> tuple[str, ...]:
    """Return the secrets in WEBHOOK_SECRET, which are separated by commas.

    Raises:
        BadWebhookSecret: one of them is malformed.
    """
    return tuple(check_secret(secret.strip()) for secret in setting.split(",") if secret.strip())


def check_secret(secret: str) -> str:
    """Return `secret` if it is well-formed.

    Raises:
        BadWebhookSecret: the prefix is missing, the rest is not base64, or it has too few or too many bytes.
    """
    encoded = secret.removeprefix(PREFIX)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not secret.startswith(PREFIX) or not MIN_BYTES <= len(decoded) <= MAX_BYTES:
        raise BadWebhookSecret(
            f"a webhook secret is {PREFIX} and {MIN_BYTES} to {MAX_BYTES} random bytes in base64; make one "
            f'with `echo "{PREFIX}$(head -c 32 /dev/urandom | base64)"`'
        )
    return secret
