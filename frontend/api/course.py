"""How a text generation went, for logs and traces."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from frontend.http.exchange import Course
from frontend.observability.traces import Moment, Value
from frontend.tasks.generation import Generation, KeptGeneration
from frontend.tasks.text import SequenceSpec, TextJob
from ipc.messages import ChatPrompt, Prompt, Sampling, TextPart, TextPrompt


def course_of(generation: Generation, prompts: str | None) -> Course:
    """`prompts`: as JSON, where they are to be kept."""
    sequences = generation.sequences
    sent = [sequence.sent_at for sequence in sequences if sequence.sent_at is not None]
    sampling = sequences[0].spec.sampling
    return Course(
        asked=_asked(sampling, len(sequences)),
        finish_reasons=tuple(s.journal.finish_reason for s in sequences if s.journal.finish_reason),
        queue_seconds=min(sent) - sequences[0].arrived_at if sent else None,
        first_token_at=generation.timing.first_token_at,
        deaths=sum(len(sequence.deaths_at) for sequence in sequences),
        moments=_moments(sequences),
        prompts=prompts,
        answers=_answers(generation) if isinstance(generation, KeptGeneration) else None,
    )


def _asked(sampling: Sampling, choices: int) -> Mapping[str, Value | None]:
    return {
        "choice.count": choices if choices > 1 else None,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
    }


def _moments(sequences: Sequence[TextJob]) -> tuple[Moment, ...]:
    moments = []
    for sequence in sequences:
        choice = {"nacelle.choice": sequence.choice}
        if sequence.sent_at is not None:
            moments.append(Moment("sent to a host", sequence.sent_at, choice))
        moments += [Moment("host died", at, choice) for at in sequence.deaths_at]
    return tuple(sorted(moments, key=lambda moment: moment.at))


# --- texts, in the form of OpenTelemetry's gen_ai.input.messages and gen_ai.output.messages --------


def prompts_json(specs: Sequence[SequenceSpec]) -> str:
    """Each prompt once, however many choices it has."""
    prompts = {spec.prompt_index: spec.prompt for spec in specs}
    return _json([message for prompt in prompts.values() for message in _messages(prompt)])


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    if isinstance(prompt, ChatPrompt):
        return [{"role": message.role, "parts": _parts(message)} for message in prompt.messages]
    text = prompt.text if isinstance(prompt, TextPrompt) else f"{len(prompt.token_ids)} token ids"
    return [{"role": "user", "parts": [_text(text)]}]


def _parts(message: Any) -> list[dict[str, Any]]:
    content = message.content if isinstance(message.content, list) else [message.content or ""]
    parts: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, str) and part:
            parts.append(_text(part))
        elif isinstance(part, TextPart):
            parts.append(_text(part.text))
        elif not isinstance(part, str):
            parts.append({"type": "blob", "modality": "image"})
    calls = getattr(message, "tool_calls", None) or []
    parts += [{"type": "tool_call", "name": call.name, "arguments": call.arguments} for call in calls]
    return parts


def _answers(generation: KeptGeneration) -> str:
    return _json(
        [
            {"role": "assistant", "parts": [_text(text)], "finish_reason": sequence.journal.finish_reason}
            for text, sequence in zip(generation.texts, generation.sequences, strict=True)
        ]
    )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
