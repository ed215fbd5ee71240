"""Makes the test clips of this folder: speech by flite, encoded by ffmpeg; run once, its output is committed.

    apt-get install flite ffmpeg
    python tests/audio/make_clips.py

The voice is flite's `rms` (CMU ARCTIC, free for any use). Another version of either program gives other
bytes, and perhaps a clip that speech recognition no longer gets exactly right: check before committing.
"""

import random
import subprocess
import tempfile
from pathlib import Path

CLIPS = Path(__file__).parent

SENTENCE = "We walked along the river until the sun went down behind the hills."
SENTENCES = (
    "Please send the report to the office before the end of the week.",
    "The old bridge was closed because of the heavy rain.",
    "She opened the window and listened to the birds in the garden.",
    "Nobody knew where the key to the front endpoint was.",
    "After dinner they played cards and talked about the summer.",
)
PAUSE_S = 1.2
LONG_TEXT = " ".join(SENTENCES)

# What ffmpeg is told for each file that holds SENTENCE.
ENCODINGS = {
    "speech.wav": ("-c:a", "pcm_s16le"),
    "speech.flac": ("-c:a", "flac", "-compression_level", "12"),
    "speech.mp3": ("-c:a", "libmp3lame", "-b:a", "40k"),
    "speech.ogg": ("-c:a", "libvorbis", "-q:a", "1"),
    "speech.opus": ("-c:a", "libopus", "-b:a", "24k"),
    "speech.m4a": ("-c:a", "aac", "-b:a", "40k"),
    "speech.aac": ("-c:a", "aac", "-b:a", "40k", "-f", "adts"),
    "speech.webm": ("-c:a", "libopus", "-b:a", "24k"),
    # As browsers record: a stream of unknown length, so that the header tells no duration.
    "streamed.webm": ("-c:a", "libopus", "-b:a", "24k", "-f", "webm", "-live", "1"),
}
PICTURE = ("-f", "lavfi", "-i", "color=c=navy:s=64x48:r=5")
PICTURE_CODEC = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "50")


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg so that the same input gives the same bytes."""
    exact = ("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1")
    *given, target = arguments
    subprocess.run(["ffmpeg", "-v", "error", "-y", *given, *exact, target], check=True)  # noqa: S607


def speak(text: str, target: Path) -> None:
    """Write `text`, spoken, to `target`: wav, 16 kHz, mono."""
    subprocess.run(["flite", "-voice", "rms", "-t", text, "-o", str(target)], check=True)  # noqa: S607


def make_speech(folder: Path) -> None:
    """One sentence in every format, and in a video."""
    spoken = folder / "sentence.wav"
    speak(SENTENCE, spoken)
    for name, encoding in ENCODINGS.items():
        ffmpeg("-i", str(spoken), *encoding, str(CLIPS / name))
    sound = ("-i", str(spoken), "-c:a", "aac", "-b:a", "40k")
    ffmpeg(*PICTURE, *sound, *PICTURE_CODEC, "-t", "4.2", str(CLIPS / "speech.mp4"))


def make_long_speech(folder: Path) -> None:
    """Several sentences with pauses between them."""
    inputs: list[str] = []
    for number, sentence in enumerate(SENTENCES):
        spoken = folder / f"{number}.wav"
        speak(sentence, spoken)
        inputs += ["-i", str(spoken)]
    padded = "".join(f"[{n}]apad=pad_dur={PAUSE_S}[p{n}];" for n in range(len(SENTENCES)))
    joined = "".join(f"[p{n}]" for n in range(len(SENTENCES)))
    graph = f"{padded}{joined}concat=n={len(SENTENCES)}:v=0:a=1"
    ffmpeg(*inputs, "-filter_complex", graph, "-c:a", "libvorbis", "-q:a", "2", str(CLIPS / "long.ogg"))


def make_bad_clips() -> None:
    """Files that are silent, empty, garbage, or have no sound."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "2")
    ffmpeg(*silence, "-c:a", "flac", "-sample_fmt", "s16", str(CLIPS / "silence.flac"))
    ffmpeg(*PICTURE, "-t", "2", *PICTURE_CODEC, str(CLIPS / "video_without_sound.mp4"))
    header = (CLIPS / "speech.wav").read_bytes()[:44]
    (CLIPS / "header_only.wav").write_bytes(header[:4] + (36).to_bytes(4, "little") + header[8:40] + bytes(4))
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x00"
    (CLIPS / "corrupt.mp3").write_bytes(tag + random.Random(1).randbytes(8_000))  # noqa: S311


def write_manifest() -> None:
    """The table of clips: file, language, text."""
    spoken = [*ENCODINGS, "speech.mp4"]
    rows = [f"{name}\ten\t{SENTENCE}" for name in spoken] + [f"long.ogg\ten\t{LONG_TEXT}"]
    (CLIPS / "manifest.tsv").write_text("\n".join(["file\tlanguage\ttext", *rows]) + "\n")


def make_clips() -> None:
    """Make all clips anew."""
    with tempfile.TemporaryDirectory() as folder:
        make_speech(Path(folder))
        make_long_speech(Path(folder))
    make_bad_clips()
    write_manifest()


if __name__ == "__main__":
    make_clips()
