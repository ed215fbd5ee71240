"""Stand-ins for the parts, and a local server made of them: run it with `server` or the name of a part.

They write a journal in DATA_DIR, and misbehave according to the environment variable MISBEHAVIOUR.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.up.composition import PartCommands, run_local_server

DATA_DIR = Path(os.environ["DATA_DIR"])
MISBEHAVIOUR = os.environ.get("MISBEHAVIOUR", "")


def note(event: str) -> None:
    """Add a line to the journal."""
    with (DATA_DIR / "journal").open("a") as journal:
        journal.write(f"{event}\n")


def be_server() -> int:
    """Run the real supervisor on the stand-ins of this file."""
    me = (sys.executable, __file__)
    return run_local_server(PartCommands(worker=(*me, "worker"), api=(*me, "api")))


def be_worker() -> int:
    """Do nothing until SIGTERM, with a child that ends with this process, as a model process does."""
    note(f"worker {os.getpid()} started with ENGINE={os.environ['ENGINE']}")
    if MISBEHAVIOUR == "worker crashes":
        sys.stdout.write("out of luck\n")
        return 3
    stop_requested = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    stay_until_stdin_ends = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(stay_until_stdin_ends, stdin=subprocess.PIPE, start_new_session=True):
        if MISBEHAVIOUR == "worker leaves a stray":
            subprocess.Popen(["/bin/sh", "-c", "exec sleep 600"], start_new_session=True)
        while MISBEHAVIOUR == "worker chatters" and not stop_requested.is_set():
            sys.stdout.write("chatter " * 100 + "\n")
        note("worker is alive")
        stop_requested.wait()
        note("worker was asked to stop" + (", Redis answers" if redis_answers() else ""))
        while MISBEHAVIOUR == "worker ignores SIGTERM":
            signal.pause()
    return 0


def redis_answers() -> bool:
    """Return whether the Redis at REDIS_URL, a unix socket, answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(unquote(urlsplit(os.environ["REDIS_URL"]).path))
        client.sendall(b"PING\r\n")
        return client.recv(16) == b"+PONG\r\n"


class Requests(BaseHTTPRequestHandler):
    """Answers /ready once the worker is alive, and anything else at once."""

    def do_GET(self) -> None:
        """Answer with the process id of the stand-in."""
        journal = (DATA_DIR / "journal").read_text()
        is_ready = self.path != "/ready" or "worker is alive" in journal
        self.send_response(200 if is_ready else 503)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def be_api() -> int:
    """Serve on the inherited socket until SIGTERM."""
    note(f"api {os.getpid()} started")
    stop_requested = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop_requested.set())
    server = HTTPServer(("", 0), Requests, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(os.environ["LISTEN_FD"]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stop_requested.wait()
    note("api was asked to stop")
    return 0


ROLES = {"server": be_server, "worker": be_worker, "api": be_api}

if __name__ == "__main__":
    sys.exit(ROLES[sys.argv[1]]())
