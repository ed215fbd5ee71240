"""The engines there are and what each can do, known without importing any of them."""

from enum import StrEnum

from shared.capabilities import Capabilities


class EngineName(StrEnum):
    """The engines, by the names that the setting ENGINE takes."""

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

SCRIPTED_LANGUAGES = frozenset({"en"})


def describe_capabilities(engine: EngineName, *, whisper_model: str) -> Capabilities:
    """What `engine` can do; `whisper_model` is what WHISPER_MODEL names, empty for `base`."""
    match engine:
        case EngineName.WHISPER:
            model, languages = whisper_model or "whisper-base", WHISPER_LANGUAGES
        case EngineName.SCRIPTED:
            model, languages = "scripted", SCRIPTED_LANGUAGES
    return Capabilities(
        engine=engine,
        model=model,
        languages=languages,
        word_languages=languages,
        context=True,
        streaming=True,
    )
