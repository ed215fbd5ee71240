"""How the forms are described in /docs: each field under the name it has in `multipart/form-data`."""

from collections.abc import Collection, Mapping
from typing import Any

_FILE = {
    "type": "string",
    "format": "binary",
    "description": "The audio, or a video with sound: wav, flac, mp3, ogg, m4a, webm, mp4 and others.",
}
_FILE_TYPES = (
    "audio/wav, audio/flac, audio/mpeg, audio/ogg, audio/mp4, audio/webm, video/mp4, video/webm, "
    "application/octet-stream"
)
_ALSO_BOOLEAN = {"type": "string", "enum": ["1", "0", "on", "off", "yes", "no", "y", "n", "t", "f"]}
_SERVER_CHOOSES = {"type": "string", "enum": ["auto"]}


def describe_multipart(schema: Mapping[str, Any], lists: Collection[str]) -> dict[str, Any]:
    """The request body that OpenAPI is told of: a file and the fields of `schema`; `lists` are repeated.

    Where there is a field `url`, that may be sent instead of the file, and then the form may be urlencoded.
    """
    fields = {}
    for name, field in schema["properties"].items():
        described = _describe_field(field, schema.get("$defs", {}))
        if name in lists:
            described["description"] += f" One field for each value; they may also be named `{name}`."
        fields[f"{name}[]" if name in lists else name] = described
    form = {"type": "object", "title": schema["title"], "properties": {"file": _FILE, **fields}}
    if "url" not in fields:
        return _describe_body({"multipart/form-data": {**form, "required": ["file"]}})
    without_file = {**form, "properties": fields, "required": ["url"]}
    either = {**form, "oneOf": [{"required": ["file"]}, {"required": ["url"]}]}
    return _describe_body({"multipart/form-data": either, "application/x-www-form-urlencoded": without_file})


def _describe_body(schemas: Mapping[str, Any]) -> dict[str, Any]:
    content = {
        kind: {"schema": schema, "encoding": _describe_encoding(schema["properties"])}
        for kind, schema in schemas.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def _describe_encoding(fields: Mapping[str, Any]) -> dict[str, Any]:
    """How the fields are sent that are no plain text."""
    objects = [name for name, field in fields.items() if _is_object(field)]
    files = {"file": {"contentType": _FILE_TYPES}} if "file" in fields else {}
    return {**files, **{name: {"contentType": "application/json"} for name in objects}}


def _is_object(field: Mapping[str, Any]) -> bool:
    return any(kind.get("type") == "object" for kind in (field, *field.get("anyOf", ())))


def _describe_field(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The field with what it refers to put in its place; an absent field is left out, never null."""
    described: dict[str, Any] = _resolve(field, definitions)
    kinds = [kind for kind in described.pop("anyOf", ()) if kind != {"type": "null"}]
    if described.get("default", ...) is None:
        del described["default"]
    described.pop("uniqueItems", None)  # what is sent twice counts once
    if described.get("type") == "boolean":
        described["anyOf"] = [{"type": described.pop("type")}, _ALSO_BOOLEAN]
    for kind in kinds:
        described |= {"anyOf": [_SERVER_CHOOSES, kind]} if "properties" in kind else kind
    return described


def _resolve(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolve(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    referred = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    own = {name: part for name, part in schema.items() if name != "$ref"}
    return {name: _resolve(part, definitions) for name, part in {**referred, **own}.items()}
