"""`python -m tests.gpu.presence TARGET`: refuse a target of make on a machine without an NVIDIA GPU.

It runs before anything is installed, so it needs only the standard library.
"""

import sys

from shared.engine_choice import find_nvidia_devices


def main() -> int:
    """Return 0 if the driver shows a GPU; else print what to do, and return 1."""
    if find_nvidia_devices().count:
        return 0
    print(
        "This machine shows no NVIDIA GPU. Install the driver (580 or newer) until `nvidia-smi` lists it, or "
        f"run `make {sys.argv[1]} DEVICE=cpu`, which tries the miniature.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
