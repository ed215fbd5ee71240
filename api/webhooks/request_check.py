"""Whether a job may ask for a callback: what can be said of that before the job has ended."""

from ipaddress import ip_address

from api.access.api_keys import ApiKey
from api.errors.urls import Refusal, UrlRefused
from api.outbound.addresses import is_public
from api.outbound.urls import parse_url
from api.settings import ApiSettings
from shared.errors import InvalidRequest

_FIELD = "webhook_url"


def check_webhook_url(url: str, key: ApiKey, settings: ApiSettings) -> None:
    """Check that `url` may be called, and that the call could be signed; names are looked up when it is made.

    Raises:
        InvalidRequest: one of both is not so.
    """
    if not (key.webhook_secret or settings.webhook_secrets):
        raise InvalidRequest(
            "This server has no secret to sign callbacks with: leave webhook_url out and poll or follow the "
            "job, or have WEBHOOK_SECRET set.",
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
