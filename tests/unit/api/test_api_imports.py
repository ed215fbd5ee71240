"""The api process stays light: it loads neither torch nor a decoder nor numpy."""

import subprocess
import sys

FORBIDDEN = {"torch", "av", "soundfile", "numpy", "ctranslate2", "faster_whisper", "onnxruntime", "worker"}


def test_the_api_loads_no_heavy_library() -> None:
    check = "import sys, api.app, api.server; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-P", "-c", check], capture_output=True, text=True, check=True)
    assert not FORBIDDEN & set(loaded.stdout.split())
