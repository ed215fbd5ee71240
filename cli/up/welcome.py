"""What the user is told: what was chosen at the start, and how to use the server once it is ready."""

import ipaddress
import shlex
from pathlib import Path

from cli.up.settings import LocalServerSettings
from shared.engine_choice import EngineChoice

CLIP = Path(__file__).parents[2] / "tests" / "audio" / "speech.wav"


def tell_choices(
    settings: LocalServerSettings, choice: EngineChoice, *, redis_source: str, asks_for_keys: bool
) -> str:
    """The engine, the data folder and the Redis, and a warning of what others could reach."""
    lines = [f"engine: {choice.engine}", f"data:   {settings.data_folder}", f"redis:  {redis_source}"]
    if settings.engine == "auto":
        lines[0] += f" (ENGINE=auto: {choice.reason})"
    if settings.data_folder.stat().st_mode & 0o077:
        lines.append("        other users of this machine can look into it; `chmod 700` keeps it private")
    if asks_for_keys:
        lines.append('keys:   each request needs one of API_KEYS: curl -H "Authorization: Bearer KEY" ...')
    elif not _is_loopback(settings.host):
        lines.append(
            f"HOST={settings.host}: whoever reaches this machine can use the server, as API_KEYS is not set"
        )
    return "\n".join(lines)


def tell_welcome(base_url: str, *, started_in_s: float) -> str:
    """The address, where its documentation is, and a command that works as it stands."""
    upload = shlex.quote(f"file=@{CLIP if CLIP.exists() else 'recording.wav'}")
    return (
        f"Ready after {started_in_s:.1f} s: {base_url} (documentation: {base_url}/docs). Try it:\n"
        f"  curl -F {upload} {base_url}/v1/audio/transcriptions\n"
        "Ctrl-C stops the server."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
