"""The duration of a file by the media service, without stored samples."""

from pathlib import Path

from shared.media.client import MediaService


def probe(service: MediaService, path: Path) -> float:
    """Return the duration of the file at `path` in seconds. Raises as `Probe.receive_duration_s` does."""
    with service.begin_probe(path) as examination:
        return examination.receive_duration_s()
