"""Repair of the checksums of Ogg pages, so that damage inside them reaches the decoders."""

from collections.abc import Iterator

_MARK = b"OggS"
_HEADER_BYTES = 27
_CHECKSUM = slice(22, 26)
_POLYNOMIAL = 0x04C11DB7
_HIGHEST_BIT = 1 << 31
_WORD = (1 << 32) - 1


def _create_table() -> Iterator[int]:
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 & _WORD) ^ (_POLYNOMIAL if value & _HIGHEST_BIT else 0)
        yield value


_TABLE = tuple(_create_table())


def repair_checksums(content: bytes) -> bytes:
    """Return `content` with the right checksum in each complete page; other bytes stay."""
    repaired = bytearray(content)
    at = repaired.find(_MARK)
    while at >= 0:
        end = _find_end(repaired, at)
        if end <= len(repaired):
            page = repaired[at:end]
            page[_CHECKSUM] = bytes(4)
            page[_CHECKSUM] = compute_checksum(page).to_bytes(4, "little")
            repaired[at:end] = page
        at = repaired.find(_MARK, at + 1)
    return bytes(repaired)


def compute_checksum(page: bytes | bytearray) -> int:
    """Return the checksum of a page whose checksum field is zero (RFC 3533, section 6)."""
    value = 0
    for byte in page:
        value = (value << 8 & _WORD) ^ _TABLE[value >> 24 ^ byte]
    return value


def _find_end(content: bytearray, at: int) -> int:
    """Return the end of the page at `at`; past the end of the content if the page is cut short."""
    begin = at + _HEADER_BYTES
    if begin > len(content):
        return begin
    segments = content[begin - 1]
    return begin + segments + sum(content[begin : begin + segments])
