"""The HTTP server around the app: uvicorn, made to end streams before it waits for them."""

import socket

import uvicorn
from fastapi import FastAPI

from api.connections import allow_open_files, guard_connections
from api.settings import ApiSettings

# Longer than clients keep an idle connection, or they would now and then send into one that is just closed.
_KEEP_ALIVE_S = 75


class ApiServer(uvicorn.Server):
    """One process that serves one app."""

    def __init__(self, app: FastAPI, settings: ApiSettings) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=guard_connections(settings.stream_send_timeout_s),
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=settings.drain_s,
            reset_contextvars=True,  # otherwise a request logs the ids of the one before on its connection
            ws="none",  # a request for one is then answered as any other, whatever packages are installed
            log_config=None,
            access_log=False,
            server_header=False,
        )
        super().__init__(config)
        self._hub = app.state.hub
        self._listen_fd = settings.listen_fd
        self._max_streams = settings.max_streams

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM or SIGINT."""
        allow_open_files(self._max_streams)
        if self._listen_fd is not None:
            # uvicorn's own `fd` takes any socket for a unix one and so leaves Nagle's delay on.
            sockets = [socket.socket(fileno=self._listen_fd)]
        super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; called by uvicorn once it was told to."""
        self._hub.close()
        await super().shutdown(sockets)
