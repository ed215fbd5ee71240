"""The settings as the table that README shows: `python -m tests.support.settings_table`."""

from collections.abc import Iterator

from pydantic_settings import BaseSettings

from api.settings import ApiSettings
from cli.up.settings import LocalServerSettings
from shared.settings import SharedSettings
from worker.settings import WorkerSettings

CLASSES: dict[str, type[BaseSettings]] = {
    "`make run`": LocalServerSettings,
    "all": SharedSettings,
    "api": ApiSettings,
    "worker": WorkerSettings,
}


def render_settings_table() -> str:
    """A Markdown table of every setting, each at the first class that has it."""
    return "\n".join(["| setting | default | read by | meaning |", "|---|---|---|---|", *_render_rows()])


def _render_rows() -> Iterator[str]:
    seen: set[str] = set()
    for reader, settings_class in CLASSES.items():
        for name, field in settings_class.model_fields.items():
            if name in seen:
                continue
            seen.add(name)
            meaning = " ".join((field.description or "").split())
            yield f"| `{name.upper()}` | {_render_default(field.default)} | {reader} | {meaning} |"


def _render_default(default: object) -> str:
    match default:
        case None:
            return "–"
        case float() if default.is_integer():
            return f"`{int(default)}`"
        case _:
            return f"`{default}`" if str(default) else "–"


if __name__ == "__main__":
    print(render_settings_table())
