"""The engines there are and what each can do, known without importing any of them."""

from enum import StrEnum

from shared.capabilities import Capabilities


class EngineName(StrEnum):
    """The engines, by the names that the setting ENGINE takes."""

    QWEN3 = "qwen3"  # Qwen3-ASR by Qwen's own package, on a GPU or the CPU
    WHISPER = "whisper"  # faster-whisper on the CPU
    SCRIPTED = "scripted"  # says what tests expect


# The languages of every multilingual Whisper model, by their codes in the API.
# fmt: off
WHISPER_LANGUAGES = frozenset({
    "af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de",
    "el", "en", "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "haw", "he", "hi", "hr", "ht",
    "hu", "hy", "id", "is", "it", "ja", "jv", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt",
    "lv", "mg", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl",
    "ps", "pt", "ro", "ru", "sa", "sd", "si", "sk", "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta",
    "te", "tg", "th", "tk", "tl", "tr", "tt", "uk", "ur", "uz", "vi", "yi", "yo", "zh",
})
# fmt: on

# The languages of Qwen3-ASR, by their codes in the API, and the names it knows them by.
QWEN3_LANGUAGE_NAMES = {
    "ar": "Arabic",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fil": "Filipino",
    "fr": "French",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "mk": "Macedonian",
    "ms": "Malay",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "yue": "Cantonese",
    "zh": "Chinese",
}

SCRIPTED_LANGUAGES = frozenset({"en"})


def describe_capabilities(engine: EngineName, *, whisper_model: str, model_id: str) -> Capabilities:
    """What `engine` can do; `whisper_model` and `model_id` are what WHISPER_MODEL and MODEL_ID name."""
    match engine:
        case EngineName.QWEN3:
            return _describe(engine, model_id, frozenset(QWEN3_LANGUAGE_NAMES), word_languages=frozenset())
        case EngineName.WHISPER:
            return _describe(engine, whisper_model or "whisper-base", WHISPER_LANGUAGES)
        case EngineName.SCRIPTED:
            return _describe(engine, "scripted", SCRIPTED_LANGUAGES)


def _describe(
    engine: EngineName, model: str, languages: frozenset[str], *, word_languages: frozenset[str] | None = None
) -> Capabilities:
    return Capabilities(
        engine=engine,
        model=model,
        languages=languages,
        word_languages=languages if word_languages is None else word_languages,
        context=True,
        streaming=True,
    )
