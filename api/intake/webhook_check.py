"""The check of a job's `webhook_url` at its submission."""

from ipaddress import ip_address

from api.access.api_keys import ApiKey
from api.errors.urls import Refusal, UrlRefused
from api.outbound.addresses import is_public
from api.outbound.urls import parse_url
from api.settings import ApiSettings
from shared.errors import InvalidRequest

_FIELD = "webhook_url"


def check_webhook_url(url: str, key: ApiKey, settings: ApiSettings) -> None:
    """Check that a webhook to `url` could be signed and is permitted. Its host is looked up at the delivery.

    Raises:
        InvalidRequest: neither the server nor the API key has a webhook secret.
        UrlRefused: the URL is malformed or not permitted, or its host is an address that is not public.
    """
    if not (key.webhook_secret or settings.webhook_secrets):
        raise InvalidRequest(
            "This server has no secret to sign webhooks with (WEBHOOK_SECRET). Leave webhook_url out and "
            "poll the job, or have the secret set.",
            param=_FIELD,
        )
    may_be_private = settings.allow_private_addresses
    host = parse_url(url, allow_private=may_be_private, param=_FIELD).host
    if not may_be_private and _is_address(host) and not is_public(host):
        raise UrlRefused(Refusal.PRIVATE, param=_FIELD)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
