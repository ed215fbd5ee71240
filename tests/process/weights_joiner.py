"""A process that joins two small files of weights: `python -m tests.process.weights_joiner SITE FOLDER`."""

import hashlib
import sys
from pathlib import Path

from worker.engines.whisper.weights import WeightFile, join_installed_parts

HEAD, TAIL = b"head of the model, ", b"tail of the model"
FILES = (
    WeightFile(
        "model.bin",
        len(HEAD + TAIL),
        hashlib.sha256(HEAD + TAIL).hexdigest(),
        (("weights_one", "model.1"), ("weights_two", "model.2")),
    ),
)

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    sys.stdout.write(str(join_installed_parts(Path(sys.argv[2]), FILES)))
