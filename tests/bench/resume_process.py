"""The CPU time of the decoders of a job that resumes often, in a process of its own that answers lines.

Each line on standard input is an order in JSON: a recording is written, decoded once, then in many claims.
No server is needed: each decoder is a forked child in the sandbox, and the kernel counts its time.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import msgspec
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from shared.audio_format import SAMPLE_RATE_HZ, AudioStart, SeekPoint
from shared.media.messages import DecodeUpload, MediaLimits
from shared.media.pcm_frames import DecodingFailed, read_frames
from shared.media.sandboxed_decoder import prepare, serve_request

MODULE = "tests.bench.resume_process"
READ_AHEAD_S = 30  # a model process reads so far beyond a window before it knows that the window ends
STATE_INTERVAL = 81_920  # the distance of the places where a resumed job may begin, see worker/audio/vad.py
CODECS = {"mp3": ("libmp3lame", 44_100), "m4a": ("aac", 44_100), "flac": ("flac", 44_100)}

_LIMITS = MediaLimits(max_audio_s=200_000, memory_bytes=1 << 30, cpu_s=36_000)
_PIECE_S = 60
_FRAME = 1_024


class ResumeOrder(msgspec.Struct, frozen=True):
    """A recording of so many hours, to be written to `path`, and the number of its resumes."""

    path: str
    hours: float
    resumes: int


class ResumeCost(msgspec.Struct, frozen=True):
    """CPU seconds of the decoders of one pass, and of the same audio in several claims."""

    one_pass_s: float
    resumed_s: float


class _Decoded(msgspec.Struct, frozen=True):
    """The CPU seconds of a decoder, the sample at which it ended, and its seek points."""

    cpu_s: float
    end_sample: int
    points: tuple[SeekPoint, ...]


def measure_resumes(path: Path, resumes: int) -> ResumeCost:
    """Decode `path` in one pass, then in `resumes` + 1 claims at equal distances."""
    whole = _run_decoder(path, AudioStart(), stop_sample=None)
    bounds = [whole.end_sample * number // (resumes + 1) for number in range(resumes + 2)]
    resumed_s = 0.0
    for begin, end in pairwise(bounds):
        start = _choose_start(begin, whole.points)
        resumed_s += _run_decoder(path, start, stop_sample=end + READ_AHEAD_S * SAMPLE_RATE_HZ).cpu_s
    return ResumeCost(whole.cpu_s, resumed_s)


def build_recording(path: Path, *, hours: float) -> None:
    """Write a recording: a minute of speech-like sound, encoded once and repeated packet by packet."""
    codec, rate_hz = CODECS[path.suffix.removeprefix(".")]
    with av.open(path, "w") as container:
        track = container.add_stream(codec, rate=rate_hz, layout="mono")
        if not isinstance(track, AudioStream):
            raise TypeError(f"{codec} is not a sound track")
        packets = [packet for frame in _make_frames(rate_hz, track) for packet in track.encode(frame)]
        packets = [packet for packet in packets if packet.size]
        ticks = sum(packet.duration or 0 for packet in packets)
        for number in range(round(hours * 3_600 / _PIECE_S)):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts = copy.dts = (packet.pts or 0) + number * ticks
                copy.duration, copy.time_base, copy.stream = packet.duration or 0, packet.time_base, track
                copy.is_keyframe = True
                container.mux(copy)


def _make_frames(rate_hz: int, track: AudioStream) -> Iterator[AudioFrame]:
    times_s = np.arange(_PIECE_S * rate_hz) / rate_hz
    voice = np.sin(2 * np.pi * (180 + 60 * np.sin(times_s)) * times_s) * (np.sin(times_s * 3) > -0.3)
    sound = (0.3 * voice + 0.01 * np.random.default_rng(1).standard_normal(len(times_s))).astype(np.float32)
    convert = av.AudioResampler(format=track.format.name, layout="mono", rate=rate_hz)
    for begin in range(0, len(sound), _FRAME):
        frame = AudioFrame.from_ndarray(sound[None, begin : begin + _FRAME], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, begin, Fraction(1, rate_hz)
        yield from convert.resample(frame)


def _choose_start(resume_sample: int, points: tuple[SeekPoint, ...]) -> AudioStart:
    sample = max(0, resume_sample - SAMPLE_RATE_HZ) // STATE_INTERVAL * STATE_INTERVAL
    earlier = [point for point in points if point.sample <= sample]
    return AudioStart(sample, earlier[-1] if earlier else None)


def _run_decoder(path: Path, start: AudioStart, *, stop_sample: int | None) -> _Decoded:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        upload_fd = os.open(path, os.O_RDONLY)
        prepare(_LIMITS)
        serve_request(DecodeUpload(None, start), _LIMITS, upload_fd=upload_fd, answer_fd=writing)
    os.close(writing)
    sample, points = start.sample, []
    with open(reading, "rb", buffering=0) as pipe, suppress(DecodingFailed):  # noqa: PTH123 - a descriptor
        for found in read_frames(pipe):
            if isinstance(found, SeekPoint):
                points.append(found)
            else:
                sample += len(found) // 2
            if stop_sample is not None and sample >= stop_sample:
                break
    _, _, usage = os.wait4(pid, 0)
    return _Decoded(usage.ru_utime + usage.ru_stime, sample, tuple(points))


def serve_lines() -> None:
    """Answer each order, until standard input ends."""
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=ResumeOrder)
        path = Path(order.path)
        if not path.exists():
            build_recording(path, hours=order.hours)
        cost = measure_resumes(path, order.resumes)
        sys.stdout.buffer.write(msgspec.json.encode(cost) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve_lines()
