"""The secrets that webhooks are signed with: how they are written, and which one is whose."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64
"""How long a secret is by the Standard Webhooks convention, before it is written in base64."""


class BadWebhookSecret(ValueError):
    """A secret cannot be used; the message shows no part of it."""


@dataclass(frozen=True, slots=True)
class WebhookSecrets:
    """The secrets of the server, several while they are changed, and those of API keys by the keys' names."""

    of_server: tuple[str, ...] = field(default=(), repr=False)
    of_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def find(self, key_name: str, *, must_be_own: bool) -> tuple[str, ...]:
        """The secrets that jobs of this API key (empty: of none) are signed with; none is: they cannot be.

        Where it `must_be_own`, that of the server does not stand for it: a receiver would think it forged.
        """
        own = self.of_keys.get(key_name)
        if own:
            return (own,)
        return () if must_be_own else self.of_server


def parse_server_secrets(setting: str) -> tuple[str, ...]:
    """The secrets in WEBHOOK_SECRET, with commas between them.

    Raises:
        BadWebhookSecret: one of them is none.
    """
    return tuple(check_secret(secret.strip()) for secret in setting.split(",") if secret.strip())


def check_secret(secret: str) -> str:
    """`secret`, if it is one.

    Raises:
        BadWebhookSecret: it is not.
    """
    encoded = secret.removeprefix(PREFIX)
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not secret.startswith(PREFIX) or not MIN_BYTES <= len(decoded) <= MAX_BYTES:
        raise BadWebhookSecret(
            f"a webhook secret is {PREFIX} and {MIN_BYTES} to {MAX_BYTES} random bytes in base64, as "
            f'`echo "{PREFIX}$(head -c 32 /dev/urandom | base64)"` makes one'
        )
    return secret
