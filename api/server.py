"""The HTTP server around the app: uvicorn, extended to end event streams before it waits for requests."""

import socket

import uvicorn
from fastapi import FastAPI

from api.connections import allow_open_files, guard_connections
from api.settings import ApiSettings

# Longer than clients keep an idle connection. Otherwise a client could send into one that is just closed.
_KEEP_ALIVE_S = 75


class ApiServer(uvicorn.Server):
    """The server of one process."""

    def __init__(self, app: FastAPI, settings: ApiSettings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=guard_connections(settings.stream_send_timeout_s),
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_s,
            reset_contextvars=True,  # otherwise a request logs the ids of the previous one
            ws="none",  # so the answer does not depend on the installed packages
            log_config=None,
            access_log=False,
            server_header=False,
        )
        super().__init__(config)
        self._hub = app.state.hub
        self._settings = settings

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or SIGINT."""
        allow_open_files(self._settings.max_streams)
        if self._settings.listen_fd is not None:
            # uvicorn's own `fd` treats each socket as a unix socket, and leaves Nagle's delay on.
            sockets = [socket.socket(fileno=self._settings.listen_fd)]
        super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all streams, then stop; uvicorn calls this after a signal."""
        self._hub.close()
        await super().shutdown(sockets)
