"""The first stage of `qwen3-asr up` in a checkout: choose the engine and set up its environment.

It runs before anything is installed, so it imports only the standard library. That is why it reads ENGINE,
MODEL_ID and DEVICE without the settings classes.
"""

import os
import sys
from pathlib import Path

from shared.engine_choice import (
    NEEDED_DRIVER,
    WHISPER_NEEDS_CPU,
    WHISPER_READS_NO_MODEL_ID,
    choose_engine_for_machine,
    find_nvidia_devices,
)
from shared.model_folder import explain_unusable_model_id

CHECKOUT = Path(__file__).resolve().parents[2]
QWEN_ENGINES = ("qwen3", "qwen3-vllm")
INTERRUPTED = 130
BAD_SETTING = 2


def is_checkout() -> bool:
    """Return whether this package lies in a checkout, with locks and set-up scripts beside it."""
    return (CHECKOUT / "scripts" / "setup_venv.py").is_file() and (CHECKOUT / "requirements").is_dir()


def enter_environment(torch_index_url: str) -> int:
    """Set up the environment that the engine needs, and run the server there in place of this process.

    Returns 0 if this process already runs in that environment, or the exit code of a failed set-up.
    """
    engine = decide_engine((os.environ.get("ENGINE") or "auto").lower())
    # Before the environment is set up, which takes minutes.
    if refusal := explain_refusal(engine, os.environ.get("MODEL_ID", ""), os.environ.get("DEVICE", "")):
        print(f"{refusal}.", file=sys.stderr)
        return BAD_SETTING
    os.environ["ENGINE"] = engine
    try:
        return set_up_and_enter(find_purpose(engine), torch_index_url)
    except KeyboardInterrupt:
        return INTERRUPTED


def decide_engine(wanted: str) -> str:
    """Return the engine that ENGINE=`wanted` means on this machine; a named engine is never replaced."""
    if wanted != "auto":
        return wanted
    choice = choose_engine_for_machine()
    show(f"ENGINE=auto is {choice.engine} here: {choice.reason}.")
    return choice.engine


def find_purpose(engine: str) -> str:
    """Return the purpose in scripts.setup_venv that serves `engine`.

    An unknown engine gets the base environment, where the settings classes reject it.
    """
    if engine == "qwen3-vllm":
        return "qwen-vllm"
    if engine != "qwen3":
        return "base"
    return "qwen-cuda" if find_nvidia_devices().count else "qwen-cpu"


def explain_refusal(engine: str, model_id: str, device: str) -> str | None:
    """Return why `engine` cannot run with these values of MODEL_ID and DEVICE, which are empty if not set."""
    wants_cuda = device.lower().startswith("cuda")
    if engine == "whisper" and model_id:
        return f"MODEL_ID={model_id}: {WHISPER_READS_NO_MODEL_ID}"
    if engine == "whisper" and wants_cuda:
        return f"DEVICE={device}: {WHISPER_NEEDS_CPU}"
    if engine in QWEN_ENGINES and model_id and (fault := explain_unusable_model_id(model_id)):
        return f"MODEL_ID={model_id}: {fault}"
    if engine == "qwen3" and wants_cuda and not find_nvidia_devices().count:
        return (
            f"DEVICE={device}: no NVIDIA device found, so `make run` would use the CPU build of torch. "
            f"Install {NEEDED_DRIVER} until `nvidia-smi` lists the GPU, start again, or set DEVICE=cpu"
        )
    return None


def set_up_and_enter(purpose_name: str, torch_index_url: str) -> int:
    """Set up the environment and become the server in it; return as `enter_environment` does."""
    # Not part of an installed package, hence not at the top.
    from scripts.purposes import PURPOSES  # noqa: PLC0415
    from scripts.setup_venv import NO_CPU_TORCH, make_ready  # noqa: PLC0415
    from scripts.virtual_environment import VirtualEnvironment  # noqa: PLC0415

    purpose = PURPOSES[purpose_name]
    venv = VirtualEnvironment(CHECKOUT / purpose.venv)
    if exit_code := make_ready(purpose, venv, torch_index_url):
        if exit_code == NO_CPU_TORCH:
            show("ENGINE=qwen3 needs it; ENGINE=whisper does not.")
        return exit_code
    if Path(sys.prefix) != venv.folder:
        program = venv.folder / "bin" / "qwen3-asr"
        os.execv(program, [str(program), "up", "--no-setup"])  # noqa: S606 - no shell
    return 0


def show(line: str) -> None:
    """Print a line for the user."""
    print(line, flush=True)
