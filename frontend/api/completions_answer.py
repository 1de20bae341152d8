"""A generation as the body of a text completion, or as its chunks."""

import msgspec
from msgspec import UNSET

from frontend.api.generating import Identity, usage_body
from frontend.api.schema.completions import Completion, CompletionRequest, TextChoice, TextLogprobs
from frontend.api.sse import around_text, event
from frontend.tasks.generation import Generation
from frontend.tasks.text import Output

_json = msgspec.json.encode


class _Tokens:
    """One choice's tokens, with the place of each in the choice's text."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._forget()

    def _forget(self) -> None:
        self.ids: list[int] = []
        self._texts: list[str] = []
        self._logprobs: list[float] = []

    def add(self, output: Output) -> None:
        self.ids += output.token_ids
        self._logprobs += output.logprobs
        self._texts += [data.decode(errors="replace") for data in output.token_bytes]

    def take(self, body: CompletionRequest, choice: TextChoice) -> None:
        """Put what came since the last call into `choice`, as far as it was asked for."""
        if body.return_token_ids:
            choice.token_ids = self.ids
        if body.logprobs is not None:
            offsets = []
            for text in self._texts:
                offsets.append(self._offset)
                self._offset += len(text)
            choice.logprobs = TextLogprobs(self._texts, self._logprobs, offsets)
        self._forget()


async def completion(
    identity: Identity, generation: Generation, body: CompletionRequest, echoes: list[str]
) -> Completion:
    """The whole answer; each choice begins with its echo. Raises ServerError or ClientGone."""
    choices = [TextChoice(index=index, text=echo) for index, echo in enumerate(echoes)]
    tokens = [_Tokens(len(echo)) for echo in echoes]
    try:
        while outputs := await generation.outputs():
            for output in outputs:
                choice = choices[output.choice]
                if output.starts_over:
                    choice.text, tokens[output.choice] = echoes[output.choice], _Tokens(len(choice.text))
                choice.text += output.text
                tokens[output.choice].add(output)
                if output.finish_reason is not None:
                    choice.finish_reason, choice.stop_reason = output.finish_reason, output.stop
    finally:
        generation.close()
    for choice, sequence in zip(choices, generation.sequences, strict=True):
        tokens[choice.index].take(body, choice)
        if body.return_token_ids:
            choice.prompt_token_ids = sequence.journal.prompt_token_ids
    return Completion(**identity.fields, choices=choices, usage=usage_body(generation.usage))


def heartbeat(identity: Identity, body: CompletionRequest) -> bytes:
    """A chunk that adds nothing."""
    no_usage = None if body.include_usage else UNSET
    return event(Completion(**identity.fields, choices=[TextChoice(index=0, text="")], usage=no_usage))


class TextChunks:
    """Encodes outputs. What is the same over a request is encoded once."""

    def __init__(
        self, identity: Identity, generation: Generation, body: CompletionRequest, echoes: list[str]
    ) -> None:
        self._fields = identity.fields
        self._generation = generation
        self._body = body
        self._no_usage = None if body.include_usage else UNSET
        self._with_tokens = body.logprobs is not None or bool(body.return_token_ids)
        self._tokens = [_Tokens(len(echo)) for echo in echoes]
        self._around = [
            around_text(lambda text, i=i: self._chunk(i, text))  # type: ignore[misc]
            for i in range(len(echoes))
        ]
        self.opening = b"".join(event(self._chunk(i, echo)) for i, echo in enumerate(echoes) if echo)

    def encode(self, outputs: list[Output]) -> bytes:
        return b"".join([self._encoded(output) for output in outputs])

    def ending(self) -> bytes:
        if not self._body.include_usage:
            return b""
        usage = usage_body(self._generation.usage)
        return event(Completion(**self._fields, choices=[], usage=usage))

    def _encoded(self, output: Output) -> bytes:
        if self._with_tokens:
            self._tokens[output.choice].add(output)
        if output.finish_reason is not None:
            return event(self._chunk(output.choice, output.text, output))
        if not output.text:
            return b""
        if self._with_tokens:
            return event(self._chunk(output.choice, output.text))
        before, after = self._around[output.choice]
        return b"".join((before, _json(output.text), after))

    def _chunk(self, index: int, text: str, end: Output | None = None) -> Completion:
        choice = TextChoice(index=index, text=text)
        if end is not None:
            choice.finish_reason, choice.stop_reason = end.finish_reason, end.stop
        if self._with_tokens:
            self._tokens[index].take(self._body, choice)
        return Completion(**self._fields, choices=[choice], usage=self._no_usage)
