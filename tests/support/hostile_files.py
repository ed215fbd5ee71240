"""Hostile files: false headers, decompression bombs, and references to other files."""

import io
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from tests.support.media_files import CLIPS, encode

RATE_HZ = 16_000
PCM, ADPCM_MS, FLOAT, A_LAW = 1, 2, 3, 6
SPOKEN_CLIPS = tuple(sorted(path.name for path in CLIPS.glob("speech.*")))
SILENT_SECOND = bytes(2 * RATE_HZ)
_STREAMINFO_SAMPLES = slice(21, 26)  # the lower 32 of 36 bits, behind half a byte of other things
_WEBM_DURATION = b"\x44\x89\x88"  # a double follows
_SYNCSAFE_MAX = b"\x7f\x7f\x7f\x7f"


def clip(name: str) -> bytes:
    """Return a clip of tests/audio."""
    return (CLIPS / name).read_bytes()


def write_wav_header(
    content: bytes,
    *,
    tag: int = PCM,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    bits: int = 16,
    **lies: int,
) -> bytes:
    """Return a WAV file of `content`. `lies` set `block_align`, `byte_rate`, `riff_bytes`, `data_bytes`."""
    block = lies.get("block_align", channels * bits // 8) & 0xFFFF
    byte_rate = lies.get("byte_rate", rate_hz * block) & 0xFFFFFFFF
    described = struct.pack("<HHIIHH", tag, channels, rate_hz, byte_rate, block, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(described)) + described
    body += b"data" + struct.pack("<I", lies.get("data_bytes", len(content))) + content
    return b"RIFF" + struct.pack("<I", lies.get("riff_bytes", len(body))) + body


def write_silent_flac(seconds: int, *, declared_samples: int | None = None) -> bytes:
    """Return a small FLAC file of much silence, which declares `declared_samples`."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(seconds * RATE_HZ, np.int16), RATE_HZ, format="FLAC")
    content = bytearray(file.getvalue())
    if declared_samples is not None:
        content[_STREAMINFO_SAMPLES] = (content[21] & 0xF0).to_bytes(1, "big") + declared_samples.to_bytes(
            4, "big"
        )
    return bytes(content)


def shorten_m4a(seconds: int) -> bytes:
    """Return silence as M4A, whose header declares one sample per packet."""
    with tempfile.TemporaryDirectory() as folder:
        silence = np.zeros(seconds * RATE_HZ, np.float32)
        content = bytearray(encode(silence, Path(folder) / "silence.m4a", codec="aac").read_bytes())
    begin = content.index(b"stts") + 8
    (runs,) = struct.unpack_from(">I", content, begin)
    for run in range(runs):
        struct.pack_into(">I", content, begin + 8 * run + 8, 1)
    return bytes(content)


def write_subtype(subtype: str, *, container: str = "WAV", channels: int = 1) -> bytes:
    """Return two seconds of a tone in an encoding of libsndfile."""
    tone = 0.5 * np.sin(np.arange(2 * RATE_HZ)[:, None] * np.ones(channels) / 10)
    file = io.BytesIO()
    soundfile.write(file, tone, RATE_HZ, subtype=subtype, format=container)
    return file.getvalue()


def write_floats(*values: float) -> bytes:
    """Return a WAV file of 32-bit floats: two seconds of these values in turn."""
    samples = np.resize(np.array(values, np.float32), 2 * RATE_HZ)
    return write_wav_header(samples.tobytes(), tag=FLOAT, bits=32)


def stretch_picture(name: str, mark: bytes) -> bytes:
    """Return a video clip that declares a picture of 65535 by 65535."""
    content = bytearray(clip(name))
    at = content.index(mark)
    content[at + 28 : at + 32] = b"\xff\xff\xff\xff"
    return bytes(content)


def tag_mp3(frame: bytes, *, size: bytes | None = None) -> bytes:
    """Return the MP3 clip after an ID3v2.3 tag with one picture frame of the declared `size`."""
    body = b"APIC" + struct.pack(">IH", len(frame), 0) + frame
    told = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0)) if size is None else size
    return b"ID3\x03\x00\x00" + told + body + clip("speech.mp3")


def picture_flac(size: int, *, told: int | None = None) -> bytes:
    """Return the FLAC clip with a picture block of `size` bytes after its first block."""
    content = clip("speech.flac")
    body = b"\x00" * size
    block = b"\x06" + (size if told is None else told).to_bytes(3, "big") + body
    return content[:4] + b"\x00" + content[5:42] + block + content[42:]


def write_zip_bomb() -> bytes:
    """Return a ZIP archive that expands to many times its size."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("speech.wav", bytes(50 << 20))
    return file.getvalue()


def tell_webm_length(milliseconds: float) -> bytes:
    """Return the WebM clip with this duration in its header."""
    content = clip("speech.webm")
    at = content.index(_WEBM_DURATION) + len(_WEBM_DURATION)
    return content[:at] + struct.pack(">d", milliseconds) + content[at + 8 :]


def cut(name: str) -> bytes:
    """Return the first half of a clip."""
    return clip(name)[: len(clip(name)) // 2]


def flip(name: str) -> bytes:
    """Return a clip with a flipped bit in every hundredth byte after the first hundred."""
    content = bytearray(clip(name))
    for at in range(100, len(content), 100):
        content[at] ^= 1 << at // 100 % 8
    return bytes(content)


REFUSED: Mapping[str, Callable[[], bytes]] = {
    "no samples": lambda: write_wav_header(b""),
    "one zero byte": lambda: b"\0",
    "zeros": lambda: bytes(1 << 20),
    "ones": lambda: b"\xff" * (1 << 20),
    "text": lambda: b"no audio at all\n" * 1_000,
    "html": lambda: b"<!doctype html><html><body>not found</body></html>" * 100,
    "zip bomb": write_zip_bomb,
    "png": lambda: (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x06\0\0\0" + bytes(9_000)
    ),
    "pdf": lambda: b"%PDF-1.7\n" + bytes(range(256)) * 100,
    "elf": lambda: b"\x7fELF\x02\x01\x01" + bytes(9_000),
    "only the head of a wav": lambda: clip("speech.wav")[:30],
    "wav of no channels": lambda: write_wav_header(SILENT_SECOND, channels=0),
    "wav of no rate": lambda: write_wav_header(SILENT_SECOND, rate_hz=0),
    "wav of no bits": lambda: write_wav_header(SILENT_SECOND, bits=0),
    "infinite numbers": lambda: write_floats(float("inf"), float("-inf")),
    "video without sound": lambda: clip("video_without_sound.mp4"),
    "huge video without sound": lambda: stretch_picture("video_without_sound.mp4", b"avc1"),
    "an hour of flac": lambda: write_silent_flac(3_600),
    "an hour of flac of unknown length": lambda: write_silent_flac(3_600, declared_samples=0),
    "an hour of flac that tells a second": lambda: write_silent_flac(3_600, declared_samples=RATE_HZ),
}
"""Files that must be refused at upload."""

SERVED: Mapping[str, Callable[[], bytes]] = {
    "RIFF of no size": lambda: write_wav_header(SILENT_SECOND * 2, riff_bytes=0),
    "RIFF of all sizes": lambda: write_wav_header(SILENT_SECOND * 2, riff_bytes=0xFFFFFFFF),
    "data of no end": lambda: write_wav_header(SILENT_SECOND * 2, data_bytes=0xFFFFFFFF),
    "data beyond the file": lambda: write_wav_header(SILENT_SECOND * 2, data_bytes=1 << 20),
    "a block of no size": lambda: write_wav_header(SILENT_SECOND * 2, block_align=0),
    "8 bits": lambda: write_subtype("PCM_U8"),
    "24 bits": lambda: write_subtype("PCM_24"),
    "64-bit floats": lambda: write_subtype("DOUBLE"),
    "IMA ADPCM": lambda: write_subtype("IMA_ADPCM"),
    "Microsoft ADPCM": lambda: write_subtype("MS_ADPCM"),
    "A-law": lambda: write_subtype("ALAW"),
    "100 channels": lambda: write_subtype("PCM_16", channels=100),
    "no numbers": lambda: write_floats(float("nan"), 0.25),
    "huge numbers": lambda: write_floats(3e38, -3e38, 1e-45),
    "one hertz": lambda: write_wav_header(bytes(range(100, 130)), rate_hz=1, bits=8),
    "ten megahertz": lambda: write_wav_header(bytes(4_000_000), rate_hz=10_000_000),
    "a webm of less than no length": lambda: tell_webm_length(-5_000.0),
    "a webm whose length is no number": lambda: tell_webm_length(float("nan")),
    "a webm of endless length": lambda: tell_webm_length(float("inf")),
    "a webm that tells of years": lambda: tell_webm_length(1e12),
    "huge video": lambda: stretch_picture("speech.mp4", b"avc1"),
    "a picture of 4 MB": lambda: tag_mp3(bytes(4 << 20)),
    "a picture of 4 MB in flac": lambda: picture_flac(4 << 20),
    "minutes of flac that tell a second": lambda: write_silent_flac(200, declared_samples=RATE_HZ),
    "an ogg chained 5 times": lambda: clip("speech.ogg") * 5,
    "half a flac": lambda: cut("speech.flac"),
}
"""Files that can be read despite their headers."""

ODD: Mapping[str, Callable[[], bytes]] = {
    "one sample": lambda: write_wav_header(b"\1\0"),
    "a tag beyond the file": lambda: tag_mp3(bytes(1 << 10), size=_SYNCSAFE_MAX),
    "data of no size": lambda: write_wav_header(SILENT_SECOND * 2, data_bytes=0),
    "65535 channels": lambda: write_wav_header(bytes(131_070 * 20), channels=65_535),
    "a block of the largest size": lambda: write_wav_header(SILENT_SECOND * 2, block_align=-1),
    "the highest rate": lambda: write_wav_header(SILENT_SECOND * 20, rate_hz=0xFFFFFFFF),
    "a negative byte rate": lambda: write_wav_header(SILENT_SECOND, byte_rate=-1),
    "ADPCM that is none": lambda: write_wav_header(
        bytes(range(256)) * 200, tag=ADPCM_MS, bits=4, block_align=256
    ),
    "A-law of 16 bits": lambda: write_wav_header(SILENT_SECOND, tag=A_LAW),
    "a picture beyond the file": lambda: picture_flac(1 << 10, told=0xFFFFFF),
    "an ogg chained 300 times": lambda: clip("speech.ogg") * 300,
    "mp3 behind a zip": lambda: write_zip_bomb() + clip("speech.mp3"),
    **{f"cut {name}": partial(cut, name) for name in SPOKEN_CLIPS},
    **{f"flipped {name}": partial(flip, name) for name in SPOKEN_CLIPS},
}
"""Files that may be read or refused, but without any other error."""


def playlists(*, url: str, path: str) -> dict[str, bytes]:
    """Return files that name another file or address that FFmpeg would open, by kind."""
    return {
        "m3u8": f"#EXTM3U\n#EXTINF:5,\n{url}\n#EXTINF:5,\n{path}\n#EXT-X-ENDLIST\n".encode(),
        "m3u8 with a key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:5,\n{path}\n'.encode(),
        "ffconcat": f"ffconcat version 1.0\nfile '{url}'\nfile '{path}'\n".encode(),
        "concat": f"concat:{path}|{path}\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 40000 RTP/AVP 0\n",
        "rtsp": f"RTSPtext\r\nrtsp{url.removeprefix('http')}\r\n".encode(),
        "pls": f"[playlist]\nFile1={url}\nFile2={path}\nNumberOfEntries=2\n".encode(),
        "asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>'.encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="audio/mp4">'
            f'<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation>'
            "</AdaptationSet></Period></MPD>"
        ).encode(),
        "ram": f"{url}\n".encode(),
    }
