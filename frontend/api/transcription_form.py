"""From the fields of a form to a transcription request, and from that to work for a host."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from frontend.api.body import naming_field
from frontend.api.json_size import check_size
from frontend.api.languages import code_of, name_of
from frontend.api.schema.common import refuse_unsupported
from frontend.api.schema.transcriptions import LISTS, UNSUPPORTED, ServerVad, TranscriptionRequest
from frontend.errors import BadRequest
from ipc.messages import Transcribe, TranscriptionCard, VoiceActivity

PROMPT_CHARACTERS = 4000  # more than the half of a window that Whisper reads of a prompt, from its end
_NAMED_LANGUAGES = 8  # in an error

Body = TypeVar("Body")


def request_of(form: Mapping[str, Sequence[str]]) -> TranscriptionRequest:
    """The request that a form makes, whose fields hold one value or several. Raises BadRequest."""
    request = _converted(fields_of(form), TranscriptionRequest)
    if "logprobs" in request.include:
        raise BadRequest("include: logprobs are not supported, since the engine reports none", "include")
    refuse_unsupported(request, UNSUPPORTED)
    if request.response_format == "diarized_json":
        raise BadRequest(
            "response_format: diarized_json is not supported, since no speakers are told apart; "
            "use verbose_json",
            "response_format",
        )
    _check_combination(request)
    return request


def _check_combination(request: TranscriptionRequest) -> None:
    if request.timestamp_granularities and request.response_format != "verbose_json":
        raise BadRequest(
            "timestamp_granularities needs response_format verbose_json", "timestamp_granularities"
        )
    if request.stream and request.response_format in ("srt", "vtt"):
        raise BadRequest(
            f"stream is not supported with {request.response_format}; "
            "use response_format json, text or verbose_json",
            "stream",
        )


def fields_of(form: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The form's fields as JSON would hold them. Raises BadRequest.

    A list may be written as `name`, `name[]`, `name[0]`, or as one JSON array; an object as `name[key]` or as
    JSON. An empty value counts as none.
    """
    fields: dict[str, Any] = {}
    for written, values in form.items():
        name, bracket, rest = written.partition("[")
        given = [value for value in values if value.strip()]
        if not given:
            continue
        if name in LISTS:
            fields.setdefault(name, []).extend(_items(name, given))
        elif len(given) > 1:
            raise BadRequest(f"{name} must occur once, not {len(given)} times", name)
        elif bracket and name == "chunking_strategy":
            fields.setdefault(name, {})
            if isinstance(fields[name], dict):
                fields[name][rest.removesuffix("]")] = given[0]
        else:
            fields[name] = _object(name, given[0]) if name == "chunking_strategy" else given[0]
    return fields


def _items(name: str, given: list[str]) -> list[Any]:
    if len(given) == 1 and given[0].lstrip().startswith("["):
        found = _json(name, given[0])
        return found if isinstance(found, list) else given
    return given


def _object(name: str, given: str) -> Any:
    return _json(name, given) if given.lstrip().startswith("{") else given.strip().strip('"')


def _json(name: str, given: str) -> Any:
    check_size(given.encode())
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest(f"{name} is not valid JSON", name) from None


def _converted(fields: dict[str, Any], kind: type[Body]) -> Body:
    with naming_field(kind):
        return msgspec.convert(fields, kind, strict=False)


def work_of(request: TranscriptionRequest, card: TranscriptionCard, *, translate: bool) -> Transcribe:
    """What to ask of a model with this card. Raises BadRequest."""
    if translate:
        check_translation(request.to_language, card)
    return Transcribe(
        0,
        b"",
        language=language_of(request.language, request.languages, card),
        translate=translate,
        prompt=request.prompt[-PROMPT_CHARACTERS:],
        keywords=request.keywords,
        temperature=request.temperature,
        word_times="word" in request.timestamp_granularities,
        voice_activity=voice_activity_of(request.chunking_strategy),
    )


def voice_activity_of(strategy: str | ServerVad | None) -> VoiceActivity:
    return strategy.voice_activity if isinstance(strategy, ServerVad) else VoiceActivity()


def check_translation(into: str | None, card: TranscriptionCard) -> None:
    """Raises BadRequest."""
    if into is not None and code_of(into) != "en":
        raise BadRequest("to_language: translations are into English; use en", "to_language")
    if not card.translates:
        raise BadRequest("model: this model does not translate; use a multilingual one", "model")


def language_of(language: str | None, candidates: Sequence[str], card: TranscriptionCard) -> str | None:
    """The code of the language to transcribe; None: to be detected. Raises BadRequest.

    One candidate is the language. Among several the engine cannot choose, so that they are only checked.
    """
    if language is not None:
        return _served_code(language, "language", card)
    codes = [_served_code(given, f"languages[{index}]", card) for index, given in enumerate(candidates)]
    return codes[0] if len(set(codes)) == 1 else None


def _served_code(language: str, param: str, card: TranscriptionCard) -> str:
    code = code_of(language)
    if code is None:
        raise BadRequest(f"{param} is not a language that is known here; use a code such as en", param)
    if code not in card.languages:
        known = [name_of(code) for code in card.languages[:_NAMED_LANGUAGES]]
        more = ", and more" if len(card.languages) > len(known) else ""
        raise BadRequest(
            f"{param}: this model does not transcribe {name_of(code)}; "
            f"its languages are {', '.join(known)}{more}",
            param,
        )
    return code
