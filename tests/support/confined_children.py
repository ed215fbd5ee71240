"""The children of a fork server that serve a request, told from the one that it keeps ahead."""

import contextlib

import psutil


def find_serving_children(server: psutil.Process) -> list[psutil.Process]:
    """Those that have an upload open, as a spare child has not."""
    inherited = _open_paths(server)
    return [child for child in server.children() if _open_paths(child) - inherited]


def find_spare_children(process: psutil.Process) -> list[psutil.Process]:
    """Those that serve nothing; none where `process` is no fork server."""
    with contextlib.suppress(psutil.Error):  # it has just ended
        if "shared.media.fork_server" in process.cmdline():
            serving = find_serving_children(process)
            return [child for child in process.children() if child not in serving]
    return []


def _open_paths(process: psutil.Process) -> set[str]:
    try:
        return {file.path for file in process.open_files()}
    except psutil.Error:  # it has just ended
        return set()
