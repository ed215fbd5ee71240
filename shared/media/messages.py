"""Messages between the media service, its fork server and the sandboxed decoders, by direction.

A request goes to the server, which forks a decoder for it, or straight to a decoder that is forked already.
"""

import msgspec

from shared.audio_format import FROM_THE_START, AudioStart

# Decoders add up to some thousand samples of padding to the declared length.
DECODER_PADDING_S = 1.0
# Playable files decode to at most 4 % more than their packets count (FLAC clips of 4 s, concatenated).
_DECLARED_FACTOR = 1.1


class MediaLimits(msgspec.Struct, frozen=True):
    """Limits for one upload: seconds of sound, and bytes of memory and seconds of CPU time of its decoder.

    They are the server's argument, as JSON.
    """

    max_audio_s: float
    memory_bytes: int
    cpu_s: float


# Requests. Each comes with two descriptors: the upload, and the pipe that the decoder writes to.


class ProbeUpload(msgspec.Struct, frozen=True, tag=True):
    """Examine the upload within `timeout_s`, and answer on the pipe.

    If it lasts at most `stored_s`, go on with its samples, as for a DecodeUpload.
    """

    timeout_s: float
    stored_s: float
    audio_track: tuple[str, ...] = ()


class DecodeUpload(msgspec.Struct, frozen=True, tag=True):
    """Decode the upload into the pipe from `start` on.

    `declared_duration_s` is the duration that the probe reported. Clearly more sound is a failure.
    """

    declared_duration_s: float | None
    start: AudioStart = FROM_THE_START
    audio_track: tuple[str, ...] = ()


DecoderRequest = ProbeUpload | DecodeUpload


# Service to server, besides requests.


class DecoderUsed(msgspec.Struct, frozen=True, tag=True):
    """A decoder that was forked ahead is used up, or has died."""


ServerOrder = DecoderRequest | DecoderUsed


def limit_decoded_s(declared_duration_s: float) -> float:
    """Return the longest sound that an upload with this declared duration may decode to, in seconds."""
    return declared_duration_s * _DECLARED_FACTOR + DECODER_PADDING_S


# Server to service.


class ServerReady(msgspec.Struct, frozen=True, tag=True):
    """All libraries are loaded, and a decoder serves the last request, if there was one.

    `fork_error` is the reason why there was no room for its process.
    """

    fork_error: str | None = None


class DecoderForked(msgspec.Struct, frozen=True, tag=True):
    """A decoder is forked ahead. The channel that comes with this message takes its one request."""


ServerAnswer = ServerReady | DecoderForked


# Decoder to service, for a probe. If the pipe ends without an answer, the decoder died. Samples may follow.


class Probed(msgspec.Struct, frozen=True, tag=True):
    """The upload can be decoded. Its duration is counted, and may be slightly off.

    Other media that are not read may follow: trailing data.
    """

    duration_s: float
    has_trailing_data: bool = False


class Unreadable(msgspec.Struct, frozen=True, tag=True):
    """The upload cannot be decoded; `message` explains why to the client. `param` is the field at fault."""

    message: str
    param: str = "file"


class TooLong(msgspec.Struct, frozen=True, tag=True):
    """The upload holds more than `max_audio_s` of sound."""


ProbeAnswer = Probed | Unreadable | TooLong

# Their `decode` raises msgspec.DecodeError if the bytes hold no such message.
request_decoder: msgspec.json.Decoder[DecoderRequest] = msgspec.json.Decoder(DecoderRequest)
server_order_decoder: msgspec.json.Decoder[ServerOrder] = msgspec.json.Decoder(ServerOrder)
server_answer_decoder: msgspec.json.Decoder[ServerAnswer] = msgspec.json.Decoder(ServerAnswer)
limits_decoder: msgspec.json.Decoder[MediaLimits] = msgspec.json.Decoder(MediaLimits)
probe_answer_decoder: msgspec.json.Decoder[ProbeAnswer] = msgspec.json.Decoder(ProbeAnswer)
