"""The checks of a form against the capabilities of the live workers, and of the URL of a webhook."""

from collections.abc import Collection
from ipaddress import ip_address

from api.access.api_keys import ApiKey
from api.errors.tree import NoWorker
from api.intake.forms import ServerVad, SpeechForm
from api.intake.live_workers import find_model
from api.outbound.urls import UrlRule
from api.settings import ApiSettings
from shared.capabilities import Capabilities
from shared.errors import InvalidRequest
from shared.jobs import SpeechDetection, TranscriptionRequest, WordTimestamps
from shared.languages import language_name, list_codes, match_language, parse_language

_WEBHOOK = "webhook_url"
_MS_PER_S = 1_000


def check_request(
    form: SpeechForm, offered: Collection[Capabilities], *, aliases: Collection[str]
) -> TranscriptionRequest:
    """Return the request that `form` makes, if all `offered` capabilities allow it.

    `aliases` are names that stand for any model.

    Raises:
        NoWorker: `offered` is empty, because no worker takes jobs.
        ModelNotFound: no worker has the model that the form names.
        InvalidRequest: a worker does not support the language, the prompt, the word timestamps or `include`.
    """
    if not offered:
        raise NoWorker
    if form.model:
        find_model(form.model, offered, aliases)
    _check_included(form)
    languages: tuple[str, ...] = ()
    for capabilities in offered:
        languages = _match_languages(form, capabilities)
        _check_words(form, languages, capabilities)
        _check_context(form, capabilities)
    return TranscriptionRequest(
        language_hint=languages[0] if len(languages) == 1 else None,
        languages=languages if len(languages) > 1 else (),
        word_timestamps=_choose_word_timestamps(form),
        context=form.context,
        temperature=form.temperature,
        speech_detection=_convert_vad(form.chunking_strategy) if form.chunking_strategy else None,
        audio_track=_parse_track(form.audio_track),
    )


def _parse_track(given: str) -> tuple[str, ...]:
    if not given or given.isdecimal():
        return (given,) if given else ()
    try:
        code = parse_language(given)
    except InvalidRequest as error:
        raise InvalidRequest(
            "audio_track is neither the number of a sound track, from 1, nor a language.", param="audio_track"
        ) from error
    return list_codes(code) if code else ()


def check_webhook_url(url: str, key: ApiKey, settings: ApiSettings) -> None:
    """Check that a webhook to `url` could be signed and is permitted. Its host is looked up at the delivery.

    Raises:
        InvalidRequest: neither the server nor the API key has a webhook secret.
        UrlRefused: the URL is malformed or not permitted, or its host is an address that is not public.
    """
    if not (key.webhook_secret or settings.webhook_secrets):
        raise InvalidRequest(
            "This server has no secret to sign webhooks with (WEBHOOK_SECRET). Leave webhook_url out and "
            "poll the job, or have the secret set.",
            param=_WEBHOOK,
        )
    rule = UrlRule(settings.allow_private_addresses, _WEBHOOK)
    host = rule.parse(url).host
    if _is_address(host):
        rule.check_addresses([host])


def _match_languages(form: SpeechForm, capabilities: Capabilities) -> tuple[str, ...]:
    """Return the codes of the languages that the client names, without those of `auto`."""
    codes = [parse_language(name, capabilities.languages) for name in form.spoken_languages]
    matched = (
        match_language(code, capabilities.languages, engine=capabilities.engine) for code in codes if code
    )
    return tuple(dict.fromkeys(matched))


def _check_words(form: SpeechForm, languages: Collection[str], capabilities: Capabilities) -> None:
    if form.words_field is None:
        return
    has_some = bool(capabilities.word_languages)
    without = next((code for code in languages if code not in capabilities.word_languages), None)
    if has_some and without is None:
        return
    for_language = f" for {language_name(without)}" if has_some and without else ""
    remedy = "Omit return_timestamps" if form.return_timestamps else "Send timestamp_granularities[]=segment"
    raise InvalidRequest(
        f"The engine ({capabilities.engine}) has no word timestamps{for_language}. {remedy}.",
        param=form.words_field,
    )


def _check_context(form: SpeechForm, capabilities: Capabilities) -> None:
    field = "prompt" if form.prompt else "keywords"
    if form.context and not capabilities.context:
        raise InvalidRequest(
            f"The engine ({capabilities.engine}) does not support {field}. Omit it.", param=field
        )
    size_bytes, max_bytes = len((form.context or "").encode()), capabilities.max_context_bytes
    if max_bytes is not None and size_bytes > max_bytes:
        raise InvalidRequest(
            f"prompt and keywords have {size_bytes} bytes of UTF-8 together; the engine "
            f"({capabilities.engine}) takes {max_bytes}. Shorten them.",
            param=field,
        )


def _check_included(form: SpeechForm) -> None:
    if form.include:
        raise InvalidRequest("No engine here reports token probabilities. Omit include.", param="include")


def _choose_word_timestamps(form: SpeechForm) -> WordTimestamps:
    if form.words_field:
        return WordTimestamps.REQUIRED
    return WordTimestamps.WELCOME if form.response_format.has_times else WordTimestamps.NONE


def _convert_vad(vad: ServerVad) -> SpeechDetection:
    return SpeechDetection(
        vad.threshold, vad.prefix_padding_ms / _MS_PER_S, vad.silence_duration_ms / _MS_PER_S
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
