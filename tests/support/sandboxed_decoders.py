"""The decoders of a fork server: those that serve a request, and the pre-forked one."""

import contextlib

import psutil

_FORK_SERVER = "shared.media.fork_server"


def find_decoder_of(worker_pid: int) -> psutil.Process | None:
    """Return the decoder that serves the worker now, if there is one."""
    for child in psutil.Process(worker_pid).children():
        if _FORK_SERVER in child.cmdline():
            return next(iter(find_serving_decoders(child)), None)
    return None


def find_serving_decoders(server: psutil.Process) -> list[psutil.Process]:
    """Return the decoders that have an upload open, unlike a pre-forked one."""
    inherited = _open_paths(server)
    return [child for child in server.children() if _open_paths(child) - inherited]


def find_preforked_decoders(process: psutil.Process) -> list[psutil.Process]:
    """Return the decoders without a request; none if `process` is not a fork server."""
    with contextlib.suppress(psutil.Error):  # it has just ended
        if _FORK_SERVER in process.cmdline():
            serving = find_serving_decoders(process)
            return [child for child in process.children() if child not in serving]
    return []


def _open_paths(process: psutil.Process) -> set[str]:
    try:
        return {file.path for file in process.open_files()}
    except psutil.Error:  # it has just ended
        return set()
