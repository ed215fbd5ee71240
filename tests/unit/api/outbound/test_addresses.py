"""Addresses and URLs of clients: which are asked."""

import pytest

from api.errors.urls import Refusal, UrlRefused
from api.outbound.addresses import is_public
from api.outbound.urls import UrlRule


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - an address to be refused
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",  # IPv4-compatible
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
        "64:ff9b:1::1",
        "100::1",
        "2001::1",  # Teredo
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:db8::1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:808:808::1",  # 6to4 of 8.8.8.8
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "localhost",
        "",
    ],
)
def test_an_address_that_is_not_out_in_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "172.32.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
    ],
)
def test_an_address_in_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://example.com/a.wav", Refusal.SCHEME),
        ("file:///etc/passwd", Refusal.SCHEME),
        ("gopher://example.com/_x", Refusal.SCHEME),
        ("//example.com/a.wav", Refusal.SCHEME),
        ("a.wav", Refusal.SCHEME),
        ("http://", Refusal.MALFORMED),
        ("http://xn--/", Refusal.MALFORMED),
        ("http:///a.wav", Refusal.MALFORMED),
        ("http://example.com:99999/", Refusal.MALFORMED),
        ("http://[::1/", Refusal.MALFORMED),
        ("http://exa mple.com/", Refusal.MALFORMED),
        ("http://example.com/\r\nX: y", Refusal.MALFORMED),
        ("https://example.com/" + "a" * 9_000, Refusal.MALFORMED),
        ("https://user:secret@example.com/", Refusal.CREDENTIALS),
        ("https://user@example.com/", Refusal.CREDENTIALS),
        ("http://example.com:25/", Refusal.PORT),
        ("http://example.com:0/", Refusal.PORT),
    ],
)
def test_a_url_is_refused_for_what_is_written_in_it(text: str, reason: Refusal) -> None:
    with pytest.raises(UrlRefused) as caught:
        UrlRule(allow_private=False, param="webhook_url").parse(text)

    assert caught.value.reason is reason
    assert caught.value.param == "webhook_url"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com/a.wav",
        "https://example.com",
        "https://example.com:8443/a?b=c",
        "http://[2606::1]/",
    ],
)
def test_a_usual_url_is_taken(text: str) -> None:
    assert str(UrlRule(allow_private=False, param="url").parse(text)) == text


def test_any_port_may_be_asked_where_private_addresses_may() -> None:
    assert UrlRule(allow_private=True, param="url").parse("http://example.com:81/").port == 81


def test_who_asks_cannot_tell_a_private_host_from_none() -> None:
    private, unknown = (UrlRefused(reason, param="url") for reason in (Refusal.PRIVATE, Refusal.UNRESOLVED))

    assert private.message == unknown.message
