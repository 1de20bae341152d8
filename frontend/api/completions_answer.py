"""A generation as the body of a text completion, or as its chunks."""

import msgspec
from msgspec import UNSET

from frontend.api.generating import Identity, usage_body
from frontend.api.schema.completions import Completion, CompletionRequest, TextChoice, TextLogprobs
from frontend.api.sse import around_text, event
from frontend.api.token_texts import TokenTexts
from frontend.tasks.generation import Generation
from frontend.tasks.text import Output
from ipc.messages import PromptScored

_json = msgspec.json.encode


class _Tokens:
    """One choice's tokens, with the place of each in the choice's text, which begins with `echo`."""

    def __init__(self, echo: str) -> None:
        self._echo = echo
        self._prompt: PromptScored | None = None
        self._begin()

    def _begin(self) -> None:
        self.ids: list[int] = []
        self._texts: TokenTexts[float | None] = TokenTexts()
        self._shown = len(self._echo)  # characters
        if self._prompt is not None:
            scores: list[float | None] = [None, *self._prompt.logprobs[1:]]
            for logprob, data in zip(scores, self._prompt.token_bytes, strict=True):
                self._texts.add(logprob, data)
            self._texts.finish()
        self._texts.seek(self._shown)

    def start_over(self) -> None:
        self._begin()

    def add(self, output: Output) -> None:
        if output.prompt is not None:
            self._prompt = output.prompt
            self._begin()
        self.ids += output.token_ids
        self._shown += len(output.text)
        for logprob, data in zip(output.logprobs, output.token_bytes, strict=True):
            self._texts.add(logprob, data)

    def take(self, body: CompletionRequest, choice: TextChoice, is_last: bool) -> None:
        """Put what came since the last call into `choice`, as far as it was asked for: of log probabilities
        those whose text is shown."""
        if body.return_token_ids:
            choice.token_ids = self.ids
            self.ids = []
        if body.logprobs is not None:
            tokens = self._texts.take_rest(self._shown) if is_last else self._texts.take(self._shown)
            choice.logprobs = TextLogprobs(
                [token.text for token in tokens],
                [token.what for token in tokens],
                [token.start for token in tokens],
                [None if token.what is None else {token.text: token.what} for token in tokens],
            )


async def completion(
    identity: Identity, generation: Generation, body: CompletionRequest, echoes: list[str]
) -> Completion:
    """The whole answer; each choice begins with its echo. Raises ServerError or ClientGone."""
    choices = [TextChoice(index=index, text=echo) for index, echo in enumerate(echoes)]
    tokens = [_Tokens(echo) for echo in echoes]
    try:
        while outputs := await generation.outputs():
            for output in outputs:
                choice = choices[output.choice]
                if output.starts_over:
                    choice.text = echoes[output.choice]
                    tokens[output.choice].start_over()
                choice.text += output.text
                tokens[output.choice].add(output)
                if output.finish_reason is not None:
                    choice.finish_reason, choice.stop_reason = output.finish_reason, output.stop
    finally:
        generation.close()
    for choice, sequence in zip(choices, generation.sequences, strict=True):
        tokens[choice.index].take(body, choice, is_last=True)
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
        self._echoes = echoes
        self._tokens = [_Tokens(echo) for echo in echoes]
        self._around = [
            around_text(lambda text, i=i: self._chunk(i, text))  # type: ignore[misc]
            for i in range(len(echoes))
        ]
        # With log probabilities, the prompt comes with its own.
        echoed = [] if body.logprobs is not None else list(enumerate(echoes))
        self.opening = b"".join(event(self._chunk(i, echo)) for i, echo in echoed if echo)

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
        if output.prompt is not None:
            return event(self._chunk(output.choice, self._echoes[output.choice]))
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
            self._tokens[index].take(self._body, choice, is_last=end is not None)
        return Completion(**self._fields, choices=[choice], usage=self._no_usage)
