"""The messages between the test and the process with the engine: orders with their answers, all in JSON."""

from enum import StrEnum

import msgspec


class Phase(StrEnum):
    """The phases of a batch in which a stop is tried."""

    PREPARING = "preparing"  # the features of the first window are computed
    ENCODER = "encoder"  # its audio enters the first layer
    PREFILL = "prefill"  # the prompts enter the first layer of the language model
    DECODING = "decoding"  # the first text is there


class DescribeDevice(msgspec.Struct, frozen=True, tag=True):
    """Answered with DeviceFacts; loads no model."""


class LoadModel(msgspec.Struct, frozen=True, tag=True):
    """Answered with ModelLoaded."""


class DecodeClips(msgspec.Struct, frozen=True, tag=True):
    """Decode all clips in batches of `rows`; answered with Texts."""

    rows: int
    keeps_blocks: bool = True


class CompareBlocks(msgspec.Struct, frozen=True, tag=True):
    """Encode 12 s at once, and as 8 s and 4 s; answered with BlocksCompared."""


class MeasureMemory(msgspec.Struct, frozen=True, tag=True):
    """Decode `rows` windows of full length, with a context of so many bytes; answered with MemoryOfRows."""

    rows: int
    context_bytes: int


class ForceShortage(msgspec.Struct, frozen=True, tag=True):
    """Decode the clips at once with memory for about `fitting` of them; answered with Texts.

    On a GPU, other tensors hold all memory but `left_bytes`. On a CPU, the shortage is simulated.
    """

    fitting: int
    left_bytes: int


class StopDuring(msgspec.Struct, frozen=True, tag=True):
    """Stop a batch of `rows` windows in a phase; answered with Stopped."""

    phase: Phase
    rows: int


class AlignWords(msgspec.Struct, frozen=True, tag=True):
    """Decode the first clip with word timestamps, after a large batch; answered with WordsFound."""


Order = (
    DescribeDevice
    | LoadModel
    | DecodeClips
    | CompareBlocks
    | MeasureMemory
    | ForceShortage
    | StopDuring
    | AlignWords
)


class DeviceFacts(msgspec.Struct, frozen=True):
    """The device and its software. Versions are 0.0 if they are not known.

    `decisions` has the device that each value of DEVICE means, or the message that refuses it.
    """

    versions: dict[str, str]
    driver_cuda: str
    capability: str
    architectures: list[str]
    decisions: dict[str, str]
    has_gpu: bool
    has_computed: bool  # a kernel has run on the GPU
    vllm_attention: str
    has_nvcc: bool


class ModelLoaded(msgspec.Struct, frozen=True):
    """The loaded engine; memory is None where it is not known."""

    device: str
    dtype: str
    attention: str
    rows: int
    load_s: float
    free_bytes: int | None
    total_bytes: int | None


class Texts(msgspec.Struct, frozen=True):
    """The texts of the clips in order, and the sizes of the batches that the model began to read."""

    texts: list[str]
    batches: list[int]
    rows_afterwards: int


class BlocksCompared(msgspec.Struct, frozen=True):
    """The mean cosine of vectors encoded at once and in blocks: 1 if the blocks are apart.

    `without_mask` is the same without the block mask, which flash-attention does not need.
    """

    with_mask: float
    without_mask: float


class MemoryOfRows(msgspec.Struct, frozen=True):
    """The growth of the memory in use, for each row; None if the device does not count it."""

    bytes_per_row: int | None
    allowed_bytes: int
    batches: list[int]


class Stopped(msgspec.Struct, frozen=True):
    """The seconds from the request of a stop to its end, None if the phase was not reached."""

    took_s: float | None
    stopped_rows: int


class WordsFound(msgspec.Struct, frozen=True):
    """The words with their times, an error if there are none, and the free memory around the clean-up."""

    words: list[tuple[float, float, str]]
    error: str
    free_before_bytes: int | None
    free_after_bytes: int | None


encode_answer = msgspec.json.encode
order_decoder: "msgspec.json.Decoder[Order]" = msgspec.json.Decoder(Order)
