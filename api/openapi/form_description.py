"""Descriptions of forms for /docs, each field under its name in `multipart/form-data`."""

from collections.abc import Mapping
from typing import Any

from api.intake.form_fields import find_lists
from api.intake.forms import SpeechForm

_FILE = {
    "type": "string",
    "format": "binary",
    "description": "The audio, or a video with sound: wav, flac, mp3, ogg, opus, m4a, aac, webm or mp4.",
}
_FILE_TYPES = (
    "audio/wav, audio/flac, audio/mpeg, audio/ogg, audio/mp4, audio/webm, video/mp4, video/webm, "
    "application/octet-stream"
)
# In any case, and with spaces around it. An empty value counts as absent.
_ALSO_BOOLEAN = {
    "type": "string",
    "pattern": r"^\s*([01YyNnTtFf]|[Oo][Nn]|[Oo][Ff][Ff]|[Yy][Ee][Ss]|[Nn][Oo]"
    r"|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])?\s*$",
}
_SERVER_CHOOSES = {"type": "string", "enum": ["auto", ""]}


def describe_form(kind: type[SpeechForm]) -> dict[str, Any]:
    """Return the OpenAPI request body of a route that takes this form and a file.

    A form with a field `url` may have that instead of the file, and may then be urlencoded. The
    multipart form requires neither: generators of clients cannot read a choice of required fields.
    """
    schema, lists = kind.model_json_schema(), find_lists(kind)
    fields = {}
    for name in kind.list_names():
        described = _describe_field(schema["properties"][name], schema.get("$defs", {}))
        if name in lists:
            described["description"] += f" Send one field per value; `{name}` works as well."
        fields[f"{name}[]" if name in lists else name] = described
    form = {"type": "object", "title": schema["title"], "properties": {"file": _FILE, **fields}}
    if "url" not in fields:
        return _describe_body({"multipart/form-data": {**form, "required": ["file"]}})
    without_file = {**form, "properties": fields, "required": ["url"]}
    return _describe_body({"multipart/form-data": form, "application/x-www-form-urlencoded": without_file})


def _describe_body(schemas: Mapping[str, Any]) -> dict[str, Any]:
    content = {
        kind: {"schema": schema, "encoding": _describe_encoding(schema["properties"])}
        for kind, schema in schemas.items()
    }
    return {"requestBody": {"required": True, "content": content}}


def _describe_encoding(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the encodings of the fields that are not plain text."""
    objects = [name for name, field in fields.items() if _is_object(field)]
    files = {"file": {"contentType": _FILE_TYPES}} if "file" in fields else {}
    return {**files, **{name: {"contentType": "application/json"} for name in objects}}


def _is_object(field: Mapping[str, Any]) -> bool:
    return any(kind.get("type") == "object" for kind in (field, *field.get("anyOf", ())))


def _describe_field(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field without references and without null: an absent field is omitted."""
    described: dict[str, Any] = _resolve(field, definitions)
    kinds = [kind for kind in described.pop("anyOf", ()) if kind != {"type": "null"}]
    if described.get("default", ...) is None:
        del described["default"]
    described.pop("uniqueItems", None)  # repeated values count once
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
