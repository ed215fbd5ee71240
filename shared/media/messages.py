"""What the media service, its fork server and the forked children tell each other, by direction."""

import msgspec


class MediaLimits(msgspec.Struct, frozen=True):
    """What one upload may cost: seconds of sound, bytes of memory and seconds of CPU time of its child."""

    max_audio_s: float
    memory_bytes: int
    cpu_s: float


class AudioProbe(msgspec.Struct, frozen=True):
    """What an upload turned out to be. `duration_s` is counted, and may be a little off."""

    duration_s: float
    container: str
    sample_rate_hz: int
    channels: int


# Parent to server; each comes with two descriptors: the upload, and the pipe that the child writes to.


class ProbeUpload(msgspec.Struct, frozen=True, tag=True):
    """Examine the upload within `timeout_s` and answer on the pipe."""

    limits: MediaLimits
    timeout_s: float


class DecodeUpload(msgspec.Struct, frozen=True, tag=True):
    """Decode the upload into the pipe, from `start_sample` (at 16 kHz) on.

    `declared_duration_s` is the duration that it was found to have when it was probed; what has much more
    is not decoded.
    """

    limits: MediaLimits
    start_sample: int
    declared_duration_s: float | None


ChildRequest = ProbeUpload | DecodeUpload


# Server to parent.


class Ready(msgspec.Struct, frozen=True, tag=True):
    """All libraries are loaded: children can be forked."""


class Forked(msgspec.Struct, frozen=True, tag=True):
    """A child serves the request."""


class ForkFailed(msgspec.Struct, frozen=True, tag=True):
    """The system has no room for another process."""

    reason: str


ServerAnswer = Ready | Forked | ForkFailed


# Probing child to parent, alone on its pipe. A pipe that ends without an answer means: the child died.


class Probed(msgspec.Struct, frozen=True, tag=True):
    """The upload is sound."""

    probe: AudioProbe


class Unreadable(msgspec.Struct, frozen=True, tag=True):
    """The upload is no sound that can be decoded; `message` says why, for people."""

    message: str


class TooLong(msgspec.Struct, frozen=True, tag=True):
    """The upload holds more than `max_audio_s` of sound."""


ProbeAnswer = Probed | Unreadable | TooLong

_encoder = msgspec.json.Encoder()
_request_decoder: msgspec.json.Decoder[ChildRequest] = msgspec.json.Decoder(ChildRequest)
_server_decoder: msgspec.json.Decoder[ServerAnswer] = msgspec.json.Decoder(ServerAnswer)
_probe_decoder: msgspec.json.Decoder[ProbeAnswer] = msgspec.json.Decoder(ProbeAnswer)


def encode_message(message: ChildRequest | ServerAnswer | ProbeAnswer) -> bytes:
    """The message as JSON, its class as the field `type`."""
    return _encoder.encode(message)


def decode_request(raw: bytes) -> ChildRequest:
    """The request that `raw` holds; raises msgspec.DecodeError where it holds none."""
    return _request_decoder.decode(raw)


def decode_server_answer(raw: bytes) -> ServerAnswer:
    """The server's answer that `raw` holds; raises msgspec.DecodeError where it holds none."""
    return _server_decoder.decode(raw)


def decode_probe_answer(raw: bytes) -> ProbeAnswer:
    """The child's answer that `raw` holds; raises msgspec.DecodeError where it holds none."""
    return _probe_decoder.decode(raw)
