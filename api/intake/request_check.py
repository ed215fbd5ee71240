"""Checking what a form asks for against what the live workers can do."""

from collections.abc import Collection

from api.errors.tree import ModelNotFound, NoWorker
from api.intake.forms import ServerVad, SpeechForm
from shared.capabilities import Capabilities, WorkerPresence
from shared.errors import InvalidRequest
from shared.jobs import SpeechDetection, TranscriptionRequest, WordTimestamps
from shared.languages import language_name, match_language, parse_language

_MS_PER_S = 1_000


def gather_capabilities(workers: Collection[WorkerPresence]) -> frozenset[Capabilities]:
    """What the live workers can do; any of them may get the job, so all of it has to fit a request.

    Raises:
        NoWorker: there is none that takes jobs.
    """
    offered = frozenset(worker.capabilities for worker in workers if worker.takes_jobs)
    if not offered:
        raise NoWorker
    return offered


def check_request(
    form: SpeechForm, offered: Collection[Capabilities], *, aliases: Collection[str]
) -> TranscriptionRequest:
    """What `form` asks for, if every one of the `offered` capabilities allows it.

    `aliases` are names that stand for whatever model is served.

    Raises:
        ModelNotFound: the form names a model that is not offered.
        InvalidRequest: the language, the prompt, the timestamps or what is to be included cannot be served.
    """
    _check_model(form.model, {capabilities.model for capabilities in offered}, aliases)
    _check_included(form)
    hint = None
    for capabilities in offered:
        hint = _match_hint(form, capabilities)
        _check_words(form, hint, capabilities)
        _check_context(form, capabilities)
    return TranscriptionRequest(
        language_hint=hint,
        word_timestamps=_choose_word_timestamps(form),
        context=form.context,
        temperature=form.temperature,
        speech_detection=_convert_vad(form.chunking_strategy) if form.chunking_strategy else None,
    )


def _check_model(name: str, served: Collection[str], aliases: Collection[str]) -> None:
    short_names = {model.rpartition("/")[2] for model in served}
    if name and name not in {*served, *short_names, *aliases}:
        raise ModelNotFound(name, [*sorted(served), *sorted({*aliases} - {*served})])


def _match_hint(form: SpeechForm, capabilities: Capabilities) -> str | None:
    code = parse_language(form.spoken_language, capabilities.languages)
    return match_language(code, capabilities.languages, engine=capabilities.engine) if code else None


def _check_words(form: SpeechForm, hint: str | None, capabilities: Capabilities) -> None:
    if form.words_field is None:
        return
    has_some = bool(capabilities.word_languages)
    if has_some and (hint is None or hint in capabilities.word_languages):
        return
    for_language = f" for {language_name(hint)}" if has_some and hint else ""
    remedy = (
        "leave return_timestamps out" if form.return_timestamps else "send timestamp_granularities[]=segment"
    )
    raise InvalidRequest(
        f"The engine in use ({capabilities.engine}) gives no word timestamps{for_language}: {remedy}.",
        param=form.words_field,
    )


def _check_context(form: SpeechForm, capabilities: Capabilities) -> None:
    if form.context and not capabilities.context:
        field = "prompt" if form.prompt else "keywords"
        raise InvalidRequest(
            f"The engine in use ({capabilities.engine}) cannot make use of {field}: leave it out.",
            param=field,
        )
    size, most = len((form.context or "").encode()), capabilities.max_context_bytes
    if most is not None and size > most:
        raise InvalidRequest(
            f"prompt and keywords have {size} bytes of UTF-8 together, and the engine in use "
            f"({capabilities.engine}) takes {most}: leave some out.",
            param="prompt" if form.prompt else "keywords",
        )


def _check_included(form: SpeechForm) -> None:
    if form.include:
        raise InvalidRequest(
            "No engine here tells how likely its tokens are: leave include out.", param="include"
        )


def _choose_word_timestamps(form: SpeechForm) -> WordTimestamps:
    if form.words_field:
        return WordTimestamps.REQUIRED
    return WordTimestamps.WELCOME if form.response_format.has_times else WordTimestamps.NONE


def _convert_vad(vad: ServerVad) -> SpeechDetection:
    return SpeechDetection(
        vad.threshold, vad.prefix_padding_ms / _MS_PER_S, vad.silence_duration_ms / _MS_PER_S
    )
