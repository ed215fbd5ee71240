"""The documentation needs no other network: all of it comes from this server."""

import re

import httpx


def test_the_page_loads_only_from_this_server(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/"), address
        assert api.get(address).status_code == 200


def test_the_document_names_all_endpoints(api: httpx.Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    endpoints = {"/v1/audio/transcriptions", "/v1/audio/transcriptions/stream", "/v1/jobs"}
    assert endpoints <= set(paths)


def test_the_document_is_public_and_an_extra_slash_is_not_redirected(api: httpx.Client) -> None:
    described = api.get("/openapi.json")
    assert described.headers["content-type"] == "application/json"
    assert described.json()["openapi"].startswith("3.1")
    assert api.get("/docs/").status_code == 404
