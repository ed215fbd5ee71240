"""`python -m api`: run the api in the foreground until it is told to stop."""

import contextlib

from api.app import create_app
from api.server import ApiServer
from api.settings import ApiSettings
from shared.logs import configure_logging


def main() -> None:
    """Serve HTTP; SIGTERM and SIGINT stop it."""
    settings = ApiSettings()
    configure_logging(settings.log_level)
    # uvicorn raises the signal that stopped it once more, when all is done.
    with contextlib.suppress(KeyboardInterrupt):
        ApiServer(create_app(settings), settings).run()


if __name__ == "__main__":
    main()
