"""The tables of docs/settings.md: `python -m tests.support.settings_table` writes them anew."""

from collections.abc import Mapping, Sequence

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from api.settings import ApiSettings
from cli.up.settings import LocalServerSettings
from shared.settings import SharedSettings
from tests.support.documents import REPOSITORY
from worker.settings import WorkerSettings

PAGE = REPOSITORY / "docs" / "settings.md"
START, END = "<!-- python -m tests.support.settings_table -->\n", "<!-- end of settings -->\n"

CLASSES: Mapping[str, type[BaseSettings]] = {
    "`make run`": LocalServerSettings,
    "all": SharedSettings,
    "api": ApiSettings,
    "worker": WorkerSettings,
}

GROUPS: Mapping[str, Sequence[str]] = {
    "Server": ("PORT", "HOST", "PUBLIC_URL", "CORS_ORIGINS", "LISTEN_FD", "LOG_LEVEL"),
    "Storage": ("DATA_DIR", "REDIS_URL", "REDIS_FSYNC", "UPLOAD_TTL_S", "JOB_TTL_S", "IDEMPOTENCY_TTL_S"),
    "Access": ("API_KEYS", "ALLOW_PRIVATE_ADDRESSES", "STREAM_TOKEN_TTL_S"),
    "Uploads": (
        *("MAX_UPLOAD_BYTES", "MIN_AUDIO_S", "MAX_AUDIO_S", "URL_INPUT", "URL_FETCH_TIMEOUT_S"),
        *("MAX_URL_FETCHES", "MAX_URL_FETCHES_PER_KEY"),
        *("PROBE_TIMEOUT_S", "DECODER_MEMORY_BYTES", "DECODER_CPU_S"),
    ),
    "Queue": (
        *("MAX_QUEUED_JOBS", "MAX_QUEUED_AUDIO_S", "QUEUE_TTL_S", "INTERACTIVE_MAX_AUDIO_S", "BATCH_TURN_S"),
        *("SYNC_WAIT_S", "PREFER_WAIT_MAX_S", "LEASE_S"),
    ),
    "Streams": (
        *("MAX_STREAMS", "MAX_STREAMS_PER_KEY", "STREAM_RESUME_S", "STREAM_SEND_TIMEOUT_S", "HEARTBEAT_S"),
    ),
    "Webhooks": ("WEBHOOK_SECRET", "WEBHOOK_TIMEOUT_S", "WEBHOOK_RETRIES_S"),
    "Engine and model": (
        *("ENGINE", "MODEL_ID", "ALIGNER_ID", "MODEL_ALIASES", "HF_HOME", "HF_HUB_CACHE", "DEVICE", "DTYPE"),
        *("BATCH_WINDOWS", "BATCH_WAIT_MS", "MAX_BATCH_S", "LANGUAGE_CHANGES"),
        *("MAX_CONTEXT_BYTES", "VLLM_GPU_MEMORY"),
        *("WHISPER_MODEL", "WHISPER_BEAM_SIZE", "CPU_THREADS", "WINDOW_S"),
    ),
    "Timeouts": (
        *("IDLE_TIMEOUT", "REQUEST_TIMEOUT", "JOB_TIMEOUT_FACTOR", "STALL_TIMEOUT_S", "LOAD_TIMEOUT_S"),
        *("CANCEL_GRACE_MS", "STOP_GRACE_S", "DRAIN_S"),
    ),
    "For tests": ("SCRIPTED_SPEED", "SCRIPTED_JOINS_ROWS", "SCRIPTED_LOAD_S", "SCRIPTED_MISBEHAVIOUR"),
}

_SECONDS_WITHOUT_SUFFIX = frozenset({"IDLE_TIMEOUT", "REQUEST_TIMEOUT"})


def find_settings() -> dict[str, FieldInfo]:
    """Return the field of each setting, by its environment variable; the first reader's field comes first."""
    found: dict[str, FieldInfo] = {}
    for settings_class in CLASSES.values():
        for name, field in settings_class.model_fields.items():
            found.setdefault(name.upper(), field)
    return found


def render_settings_tables() -> str:
    """Return one Markdown table per group, with every setting once."""
    settings = find_settings()
    return "\n\n".join(
        "\n".join([f"## {title}", "", *_HEAD, *(_render_row(name, settings[name]) for name in names)])
        for title, names in GROUPS.items()
    )


def render_default(name: str, field: FieldInfo) -> str:
    """Return the default with its unit; a dash if it is empty."""
    default = field.default
    if default is None or str(default) in ("", "()"):
        return "–"
    match default:
        case bool():
            shown = str(default).lower()
        case float() if default.is_integer():
            shown = str(int(default))
        case tuple():
            shown = ",".join(map(str, default))
        case _:
            shown = str(default)
    return f"`{shown}`{_find_unit(name)}"


_HEAD = ("| setting | default | read by | meaning |", "|---|---|---|---|")


def _render_row(name: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split())
    return f"| `{name}` | {render_default(name, field)} | {_list_readers(name)} | {meaning} |"


def _list_readers(name: str) -> str:
    readers = [reader for reader, cls in CLASSES.items() if name.lower() in cls.__annotations__]
    return "all" if "all" in readers else ", ".join(readers)


def _find_unit(name: str) -> str:
    if name.endswith("_S") or name in _SECONDS_WITHOUT_SUFFIX:
        return " s"
    if name.endswith("_MS"):
        return " ms"
    return " bytes" if name.endswith("_BYTES") else ""


def render_page() -> str:
    """Return docs/settings.md with its tables written anew."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    tail = rest.partition(END)[2]
    return f"{head}{START}\n{render_settings_tables()}\n\n{END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
