"""How the forms are described in /docs: each field under the name it has in `multipart/form-data`."""

from collections.abc import Collection, Mapping
from typing import Any

_FILE = {
    "type": "string",
    "format": "binary",
    "description": "The audio, or a video with sound: any usual format.",
}
_SERVER_CHOOSES = {"type": "string", "enum": ["auto"]}


def describe_multipart(schema: Mapping[str, Any], lists: Collection[str]) -> dict[str, Any]:
    """The request body that OpenAPI is told of: a file and the fields of `schema`; `lists` are repeated."""
    fields = {}
    for name, field in schema["properties"].items():
        described = _describe_field(field, schema.get("$defs", {}))
        if name in lists:
            described["description"] += f" One field for each value; they may also be named `{name}`."
        fields[f"{name}[]" if name in lists else name] = described
    form = {
        "type": "object",
        "title": schema["title"],
        "properties": {"file": _FILE, **fields},
        "required": ["file"],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def _describe_field(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The field with what it refers to put in its place; an absent field is left out, never null."""
    described: dict[str, Any] = _resolve(field, definitions)
    kinds = [kind for kind in described.pop("anyOf", ()) if kind != {"type": "null"}]
    if described.get("default", ...) is None:
        del described["default"]
    for kind in kinds:
        described |= {"anyOf": [_SERVER_CHOOSES, kind]} if kind["type"] == "object" else kind
    return described


def _resolve(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolve(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    referred = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    own = {name: part for name, part in schema.items() if name != "$ref"}
    return {name: _resolve(part, definitions) for name, part in {**referred, **own}.items()}
