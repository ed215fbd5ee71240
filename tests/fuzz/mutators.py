"""Mutators: pure functions of a random number source and a file that return the file damaged."""

import re
from collections.abc import Callable, Mapping
from random import Random

Mutator = Callable[[Random, bytes], bytes]

MAX_BYTES = 1 << 20
"""The size limit of a mutated file, however often a piece is repeated."""

_HEADER_BYTES = 512
_MAX_REPEATS = 12
# The marks of RIFF chunks and of boxes in mp4, beside which lengths stand.
_MARK = re.compile(rb"[A-Za-z][A-Za-z0-9 ]{3}")
_BAD_NUMBERS = (
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    -1,
)


def flip_bits(random: Random, content: bytes) -> bytes:
    """Flip some bits, few or many."""
    flipped = bytearray(content)
    for _ in range(1 << random.randrange(9) if flipped else 0):
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    return bytes(flipped)


def flip_header_bits(random: Random, content: bytes) -> bytes:
    """Flip bits where formats keep their headers."""
    return flip_bits(random, content[:_HEADER_BYTES]) + content[_HEADER_BYTES:]


def overwrite_piece(random: Random, content: bytes) -> bytes:
    """Replace a piece by noise, zeros or ones."""
    begin, end = _pick_piece(random, content)
    filling = random.choice((random.randbytes(end - begin), bytes(end - begin), b"\xff" * (end - begin)))
    return content[:begin] + filling + content[end:]


def cut_tail(random: Random, content: bytes) -> bytes:
    """Keep only the beginning, as after an interrupted upload."""
    return content[: random.randrange(len(content) + 1)]


def cut_head(random: Random, content: bytes) -> bytes:
    """Keep only the end."""
    return content[random.randrange(len(content) + 1) :]


def drop_piece(random: Random, content: bytes) -> bytes:
    """Remove a piece."""
    begin, end = _pick_piece(random, content)
    return content[:begin] + content[end:]


def repeat_piece(random: Random, content: bytes) -> bytes:
    """Repeat a piece several times."""
    begin, end = _pick_piece(random, content)
    return (content[:end] + content[begin:end] * random.randint(1, _MAX_REPEATS) + content[end:])[:MAX_BYTES]


def swap_pieces(random: Random, content: bytes) -> bytes:
    """Swap two neighbouring pieces."""
    begin, middle, end = sorted(random.randrange(len(content) + 1) for _ in range(3))
    return content[:begin] + content[middle:end] + content[begin:middle] + content[end:]


def insert_noise(random: Random, content: bytes) -> bytes:
    """Insert bytes that no format has there."""
    at = random.randrange(len(content) + 1)
    return (content[:at] + random.randbytes(1 << random.randrange(13)) + content[at:])[:MAX_BYTES]


def lie_in_header(random: Random, content: bytes) -> bytes:
    """Write a bad number somewhere into the header."""
    return _write_lie(random, content, random.randrange(min(len(content), _HEADER_BYTES) + 1))


def lie_in_length(random: Random, content: bytes) -> bytes:
    """Write a bad number beside the mark of a chunk or a box, where its length stands."""
    marks = [match.start() for match in _MARK.finditer(content[: 1 << 14])]
    if not marks:
        return lie_in_header(random, content)
    return _write_lie(random, content, max(random.choice(marks) + random.choice((-4, 4)), 0))


MUTATORS: Mapping[str, Mutator] = {
    mutator.__name__: mutator
    for mutator in (
        flip_bits,
        flip_header_bits,
        overwrite_piece,
        cut_tail,
        cut_head,
        drop_piece,
        repeat_piece,
        swap_pieces,
        insert_noise,
        lie_in_header,
        lie_in_length,
    )
}


def splice(random: Random, head: bytes, tail: bytes) -> bytes:
    """Return the beginning of one file and the end of another."""
    return (cut_tail(random, head) + cut_head(random, tail))[:MAX_BYTES]


def _pick_piece(random: Random, content: bytes) -> tuple[int, int]:
    begin = random.randrange(len(content) + 1)
    return begin, min(begin + random.randrange(1 << random.randrange(1, 15)), len(content))


def _write_lie(random: Random, content: bytes, at: int) -> bytes:
    width = random.choice((1, 2, 3, 4, 8))
    lie = random.choice((*_BAD_NUMBERS, random.getrandbits(64))) % (1 << 8 * width)
    number = lie.to_bytes(width, random.choice(("little", "big")))
    return content[:at] + number[: len(content) - at] + content[at + width :]
