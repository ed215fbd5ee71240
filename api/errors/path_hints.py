"""Hints at the right path for a request to a wrong one, such as one with a `/v1` too many or too few."""

from collections.abc import Collection

from starlette.routing import compile_path

_VERSION = "v1"


def find_similar_path(path: str, templates: Collection[str]) -> str | None:
    """Return the path of an endpoint that ends as `path` does; None if there is none.

    `templates` are the paths of the endpoints, such as `/v1/jobs/{job_id}`.
    """
    parts = [part for part in path.split("/") if part]
    for begin in range(len(parts)):
        rest = [part for part in parts[begin:] if part != _VERSION]
        for candidate in ("/".join(("", _VERSION, *rest)), "/".join(("", *rest))):
            if candidate != path and any(matches_template(candidate, template) for template in templates):
                return candidate
    return None


def matches_template(path: str, template: str) -> bool:
    """Return whether `path` is a path of the endpoint with this template."""
    return compile_path(template)[0].fullmatch(path) is not None
