"""`python -m api`: run the api in the foreground until SIGTERM or SIGINT."""

import contextlib
import gc

from api.app import create_app
from api.server import ApiServer
from api.settings import ApiSettings
from shared.logs import configure_logging
from shared.record.version import exit_on_other_version
from shared.start_settings import exit_with, load_settings, warn_of_misspelt_settings
from shared.upload_store import UploadStore

# The oldest generation is collected a hundred times less often than by default: with 5,000 listeners one such
# collection stops the process for seconds and finds few cycles.
GC_THRESHOLDS = (700, 10, 1_000)


def main() -> None:
    """Serve HTTP."""
    settings = load_settings(ApiSettings)
    configure_logging(settings.log_level)
    warn_of_misspelt_settings(ApiSettings)
    try:
        UploadStore(settings.uploads_dir).prepare()
    except OSError as error:
        exit_with(f"DATA_DIR={settings.data_dir} cannot be used ({error.strerror}). Choose another folder.")
    exit_on_other_version(settings.redis_url)
    gc.set_threshold(*GC_THRESHOLDS)
    # uvicorn raises the signal that stopped it once more, when all is done.
    with contextlib.suppress(KeyboardInterrupt):
        ApiServer(create_app(settings), settings).run()


if __name__ == "__main__":
    main()
