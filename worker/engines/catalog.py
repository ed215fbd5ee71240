"""The names of the engines and their capabilities, known without importing any engine.

Settings and heartbeats need these before anything is loaded; `registry` has the engines themselves.
"""

from enum import StrEnum
from pathlib import Path

from shared.capabilities import Capabilities


class EngineName(StrEnum):
    """The engines, by the names that the setting ENGINE takes."""

    QWEN3 = "qwen3"  # Qwen3-ASR by Qwen's own package, on a GPU or the CPU
    QWEN3_VLLM = "qwen3-vllm"  # the same model by vLLM, on a GPU
    WHISPER = "whisper"  # faster-whisper on the CPU
    SCRIPTED = "scripted"  # for tests; its text follows from the samples


class LanguageChanges(StrEnum):
    """Where windows are cut when the language changes, by the values of the setting LANGUAGE_CHANGES."""

    PAUSES = "pauses"  # at pauses between two speech regions
    ALWAYS = "always"  # at pauses, and inside speech without a pause
    OFF = "off"  # never


# fmt: off
# The languages of every multilingual Whisper model, as codes of the API.
WHISPER_LANGUAGES = frozenset({
    "af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de",
    "el", "en", "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "haw", "he", "hi", "hr", "ht",
    "hu", "hy", "id", "is", "it", "ja", "jv", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt",
    "lv", "mg", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl",
    "ps", "pt", "ro", "ru", "sa", "sd", "si", "sk", "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta",
    "te", "tg", "th", "tk", "tl", "tr", "tt", "uk", "ur", "uz", "vi", "yi", "yo", "zh",
})

# The languages of Qwen3-ASR: their codes in the API, and the names that the model uses.
QWEN3_LANGUAGE_NAMES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fil": "Filipino",
    "fr": "French", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "mk": "Macedonian", "ms": "Malay", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish",
    "th": "Thai", "tr": "Turkish", "vi": "Vietnamese", "yue": "Cantonese", "zh": "Chinese",
}
# fmt: on

# The languages for which Qwen's forced aligner finds word timestamps.
QWEN3_WORD_LANGUAGES = frozenset({"de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "yue", "zh"})

DEFAULT_ALIGNER_ID = "Qwen/Qwen3-ForcedAligner-0.6B"
NO_ALIGNER = "none"

SCRIPTED_LANGUAGES = frozenset({"en"})


def describe_capabilities(
    engine: EngineName,
    *,
    whisper_model: str,
    model_id: str,
    aligner_id: str = DEFAULT_ALIGNER_ID,
    max_context_bytes: int | None = None,
) -> Capabilities:
    """Return what `engine` can do with these settings; each argument is the setting of its name."""
    match engine:
        case EngineName.QWEN3 | EngineName.QWEN3_VLLM:
            languages = frozenset(QWEN3_LANGUAGE_NAMES)
            words = find_word_languages(aligner_id) if engine is EngineName.QWEN3 else frozenset()
            model = name_model(model_id)
            return Capabilities(engine, model, languages, words, max_context_bytes=max_context_bytes)
        case EngineName.WHISPER:
            model = name_model(whisper_model or "whisper-base")
            return Capabilities(engine, model, WHISPER_LANGUAGES, word_languages=WHISPER_LANGUAGES)
        case EngineName.SCRIPTED:
            return Capabilities(engine, "scripted", SCRIPTED_LANGUAGES, word_languages=SCRIPTED_LANGUAGES)


def name_model(model_id: str) -> str:
    """Return the name that clients see of a model: a path of this machine is shown as the folder's name."""
    return Path(model_id).resolve().name if names_folder(model_id) else model_id


def names_folder(model_id: str) -> bool:
    """Return whether `model_id` is a folder or would be one, and not a name on the hub."""
    folder = Path(model_id)
    return folder.is_dir() or folder.is_absolute() or model_id.startswith(".")


def find_word_languages(aligner_id: str) -> frozenset[str]:
    """Return the languages with word timestamps for this ALIGNER_ID; `none` means no aligner."""
    return frozenset() if aligner_id.lower() == NO_ALIGNER else QWEN3_WORD_LANGUAGES
