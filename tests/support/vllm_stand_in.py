"""A stub of vLLM, as far as the engine `qwen3-vllm` calls it, since vLLM itself is not installed for tests.

It has the names and shapes of `vllm.LLM`, `SamplingParams` and of the engine's `add_request`, `step` and
`abort_request`, and no model: what is said is up to whoever installs it.
"""

import queue
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

END = 151_645
ARCHITECTURE = "Qwen3ASRForConditionalGeneration"


class RequestOutputKind(Enum):
    """The tokens that an output has: all so far, or the new ones."""

    CUMULATIVE = 0
    DELTA = 1


class SamplingParams(msgspec.Struct, frozen=True):
    """How a request goes on; vLLM has more fields, and refuses those that it does not know as well."""

    temperature: float = 1.0
    max_tokens: int = 16
    stop_token_ids: Sequence[int] = ()
    extra_args: Mapping[str, Any] | None = None
    detokenize: bool = True
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE


class CompletionOutput(msgspec.Struct, frozen=True):
    """The new tokens of a request, and why it ended if it did."""

    token_ids: list[int]
    finish_reason: str | None


class RequestOutput(msgspec.Struct, frozen=True):
    """The result of a step for a request."""

    request_id: str
    outputs: list[CompletionOutput]


class EngineDeadError(Exception):
    """Raised by vLLM's client after the process with the model has ended."""


class Request(msgspec.Struct):
    """A request as it came in; `script` are all tokens of its text, `sent` of them are out."""

    prompt_tokens: list[int]
    audio: npt.NDArray[np.float32]
    params: SamplingParams
    script: list[int]
    sent: int = 0


Speaker = Callable[[Request], list[int]]
"""A function that returns all tokens of the text for a request, with the end token if the text ends."""


class InprocClient:
    """The client of vLLM without a process of its own, as with VLLM_ENABLE_V1_MULTIPROCESSING=0."""

    def get_output(self) -> None:
        """Return at once."""


class SyncMPClient(InprocClient):
    """The client of vLLM's process: a thread queues its outputs, and ends in silence if the process dies."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._outputs: queue.Queue[None] = queue.Queue()
        self._connection, theirs = context.Pipe()
        process = context.Process(target=run_core, args=(theirs,), name="EngineCore_DP0")
        process.start()
        theirs.close()
        self._connection.recv()
        self.resources = SimpleNamespace(engine_manager=SimpleNamespace(processes=[process]))
        Thread(target=self._read_outputs, daemon=True).start()

    def get_output(self) -> None:
        """Wait for the process, without a limit."""
        with suppress(OSError):
            self._connection.send(None)
        self._outputs.get()

    def _read_outputs(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._outputs.put(self._connection.recv())


def run_core(connection: Connection) -> None:
    """Answer each order. It ignores the signals that it can, like a process in a long call of CUDA."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection.send(None)
    with suppress(EOFError):
        while True:
            connection.send(connection.recv())


class EngineStandIn:
    """The engine inside of `LLM`: one token of each request a step; requests begin one after the other."""

    def __init__(self, llm: "VllmStandIn", options: Mapping[str, Any]) -> None:
        self._llm = llm
        self._room = int(options["max_model_len"])
        self.engine_core = llm.make_client()
        self._steps_until: dict[str, int] = {}
        self.running: dict[str, Request] = {}

    def add_request(self, request_id: str, prompt: Mapping[str, Any], params: SamplingParams) -> None:
        """Take a request."""
        assert request_id not in self.running
        (audio,) = prompt["multi_modal_data"]["audio"]
        request = Request(list(prompt["prompt_token_ids"]), audio, params, [])
        request.script = self._llm.speak(request)
        self._llm.requests.append(request)
        self._steps_until[request_id] = self._llm.delay * len(self.running)
        self.running[request_id] = request

    def step(self) -> list[RequestOutput]:
        """One token of each request that has begun."""
        self._llm.steps += 1
        self.engine_core.get_output()
        time.sleep(self._llm.step_s)
        if self._llm.steps > self._llm.lives_for_steps:
            raise EngineDeadError("EngineCore encountered an issue.")
        assert self.running, "vLLM would wait for ever"
        outputs = []
        for request_id, request in list(self.running.items()):
            self._steps_until[request_id] -= 1
            if self._steps_until[request_id] < 0:
                outputs.append(self._send_next(request_id, request))
        return outputs

    def abort_request(self, request_ids: list[str]) -> None:
        """End requests, and pass over those that have ended."""
        for request_id in request_ids:
            if self.running.pop(request_id, None):
                self._llm.aborted.append(request_id)

    def _send_next(self, request_id: str, request: Request) -> RequestOutput:
        token = request.script[request.sent]
        request.sent += 1
        reason = None
        if token in request.params.stop_token_ids:
            reason = "stop"
        elif request.sent == min(request.params.max_tokens, self._room - len(request.prompt_tokens)):
            reason = "length"
        if reason:
            del self.running[request_id]
        tokens = [] if reason == "stop" and self._llm.hides_end else [token]
        return RequestOutput(request_id, [CompletionOutput(tokens, reason)])


class VllmStandIn:
    """The texts and faults of the stub, and its requests."""

    def __init__(self, speak: Speaker) -> None:
        self.speak = speak
        self.delay = 0  # steps by which a request begins after the one before it
        self.lives_for_steps = 1_000_000
        self.step_s = 0.0
        self.hides_end = False
        self.architectures = {ARCHITECTURE}
        self.generation = 9  # the major compute capability of the GPU
        self.start_error: Exception | None = None
        self.make_client: Callable[[], InprocClient] = InprocClient
        self.options: dict[str, Any] = {}
        self.engine: EngineStandIn | None = None
        self.requests: list[Request] = []
        self.aborted: list[str] = []
        self.steps = 0

    def start(self, **options: Any) -> ModuleType:
        """Return the stand-in of a `vllm.LLM`: an object with an `llm_engine`."""
        if self.start_error:
            raise self.start_error
        self.options = options
        self.engine = EngineStandIn(self, options)
        llm: Any = ModuleType("llm")
        llm.llm_engine = self.engine
        return llm  # type: ignore[no-any-return]

    def make_modules(self) -> dict[str, ModuleType]:
        """The modules that take vLLM's place in `sys.modules`."""
        registry: Any = ModuleType("registry")
        registry.get_supported_archs = lambda: self.architectures
        vllm: Any = ModuleType("vllm")
        vllm.LLM, vllm.SamplingParams, vllm.ModelRegistry = self.start, SamplingParams, registry
        vllm.__version__ = "0.14.0-stub"
        sampling: Any = ModuleType("vllm.sampling_params")
        sampling.RequestOutputKind = RequestOutputKind
        platforms: Any = ModuleType("vllm.platforms")
        platforms.current_platform = self
        return {"vllm": vllm, "vllm.sampling_params": sampling, "vllm.platforms": platforms}

    def get_device_capability(self) -> Any:
        """Return the compute capability of the GPU, as vLLM's platform does."""
        return SimpleNamespace(major=self.generation, minor=0)


class ProcessorStandIn:
    """In place of Qwen's processor: a token for each byte of text, and prompts that can be read."""

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **_options: Any) -> str:
        """The prompt, opened for the answer."""
        system, _user = messages
        return f"[{system['content']}][audio]"

    @property
    def tokenizer(self) -> "ProcessorStandIn":
        """It does a tokenizer's work as well."""
        return self

    @property
    def backend_tokenizer(self) -> "ProcessorStandIn":
        """And that of the library below transformers' tokenizers."""
        return self

    def __call__(self, text: str) -> dict[str, list[int]]:
        """The tokens of `text`."""
        return {"input_ids": list(text.encode())}

    def decode(self, tokens: list[int], **_options: Any) -> str:
        """The text of `tokens`."""
        return bytes(tokens).decode("utf-8", errors="replace")


def make_qwen_modules() -> dict[str, ModuleType]:
    """Return the modules that take the place of Qwen's package if that is not installed either."""
    names = ("qwen_asr", "qwen_asr.core", "qwen_asr.core.transformers_backend")
    modules: dict[str, Any] = {name: ModuleType(name) for name in names}
    processor_class: Any = ModuleType("Qwen3ASRProcessor")
    processor_class.from_pretrained = lambda *_arguments, **_options: ProcessorStandIn()
    modules[names[-1]].Qwen3ASRProcessor = processor_class
    return modules


def install(stand_in: VllmStandIn) -> None:
    """Put the stubs of vLLM and of Qwen's package into this process, for good."""
    sys.modules.update(stand_in.make_modules() | make_qwen_modules())
