"""Checking what a form asks for against what the live workers can do."""

from collections.abc import Collection

from api.errors import ModelNotFound
from api.forms import SpeechForm
from shared.capabilities import Capabilities, WorkerPresence
from shared.errors import InvalidRequest, NoWorker
from shared.jobs import TranscriptionRequest, WordTimes
from shared.languages import language_name, match_language, parse_language

MODEL_ALIASES = frozenset({"whisper-1"})
"""Names that clients of other servers send; they stand for whatever is served here."""


def gather_capabilities(workers: Collection[WorkerPresence]) -> frozenset[Capabilities]:
    """What the live workers can do; any of them may get the job, so all of it has to fit a request.

    Raises:
        NoWorker: there is none.
    """
    if not workers:
        raise NoWorker
    return frozenset(worker.capabilities for worker in workers)


def check_request(form: SpeechForm, offered: Collection[Capabilities]) -> TranscriptionRequest:
    """What `form` asks for, if every one of the `offered` capabilities allows it.

    Raises:
        ModelNotFound: the form names a model that is not offered.
        InvalidRequest: the language, the prompt or the timestamps cannot be served.
    """
    _check_model(form.model, {capabilities.model for capabilities in offered})
    language = parse_language(form.language)
    hint = None
    for capabilities in offered:
        hint = match_language(language, capabilities.languages) if language else None
        _check_words(form, hint, capabilities)
        _check_context(form, capabilities)
    return TranscriptionRequest(
        language_hint=hint,
        word_times=WordTimes.REQUIRED if form.return_timestamps else WordTimes.NONE,
        context=form.prompt or None,
    )


def _check_model(name: str, served: Collection[str]) -> None:
    short_names = {model.rpartition("/")[2] for model in served}
    if name and name not in {*served, *short_names, *MODEL_ALIASES}:
        raise ModelNotFound(name, served)


def _check_words(form: SpeechForm, hint: str | None, capabilities: Capabilities) -> None:
    if not form.return_timestamps:
        return
    if not capabilities.word_languages:
        raise InvalidRequest(
            f"The engine in use ({capabilities.engine}) gives no times of words: "
            "leave return_timestamps out.",
            param="return_timestamps",
        )
    if hint and hint not in capabilities.word_languages:
        raise InvalidRequest(
            f"The engine in use ({capabilities.engine}) gives no times of words for {language_name(hint)}: "
            "leave return_timestamps out.",
            param="return_timestamps",
        )


def _check_context(form: SpeechForm, capabilities: Capabilities) -> None:
    if form.prompt and not capabilities.context:
        raise InvalidRequest(
            f"The engine in use ({capabilities.engine}) cannot make use of a prompt: leave it out.",
            param="prompt",
        )
