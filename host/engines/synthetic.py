"""An engine without a model: tokens at a set rate, to measure everything around an engine and to break it."""

import time

from host.engines.base import Body, RequestRefused, context_length_exceeded, not_served
from host.engines.failures import NO_SCORES, prompt_not_scored
from host.engines.prompts import decode_input, decode_prompt, decode_token_ids, prompt_param
from host.model_folder import SamplingDefaults
from host.results import Results
from host.sampling import Limits, check_token_ids, resolve
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Accepted,
    ChatPrompt,
    Delta,
    Detokenize,
    Detokenized,
    Failed,
    Finish,
    Gauges,
    Generate,
    Launch,
    Prompt,
    Reply,
    TextCard,
    TextOptions,
    TextPrompt,
    Tokenize,
    Tokenized,
    Work,
)

_WORDS = (" the", " engine", " turns", " and", " the", " air", " moves", ".")
_CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"  # in spirit
_VOCAB_SIZE = 32_000
_CONTEXT = 32_768  # tokens, unless the launch says otherwise
_DEFAULT_MAX_TOKENS = 16
_MAX_WORD_BYTES = 64  # on average, of a prompt that fits the context
_LONGEST_SLEEP = 0.005  # seconds: admission and cancel wait for it


class _Stream:
    __slots__ = ("due", "made", "max_tokens")

    def __init__(self, max_tokens: int, made: int, due: float) -> None:
        self.max_tokens = max_tokens
        self.made = made
        self.due = due  # monotonic time of the next token

    def advance(self, request_id: int, now: float, interval: float) -> Delta | None:
        """The token that is due, if one is."""
        if self.made >= self.max_tokens:  # resumed after its last token
            return Delta(request_id, [], "", Finish("length"))
        if self.due > now:
            return None
        word = self.made % len(_WORDS)
        self.made += 1
        self.due += interval
        return Delta(
            request_id, [word], _WORDS[word], Finish("length") if self.made == self.max_tokens else None
        )


class SyntheticEngine:
    """One token per request per step, each request not faster than the launch's rate."""

    def __init__(self, launch: Launch[TextOptions], _results: Results) -> None:
        context = launch.options.context_length or _CONTEXT
        self._limits = Limits(context, _VOCAB_SIZE, kv_cache_tokens=context * launch.options.max_num_seqs)
        self.card = TextCard(
            context_length=context,
            vocab_size=_VOCAB_SIZE,
            kv_cache_tokens=self._limits.kv_cache_tokens,
            slots=launch.options.max_num_seqs,
            chat_template=_CHAT_TEMPLATE,
            device_name="synthetic",
            load_seconds=0.0,
            fingerprint="",
            properties={},
        )
        rate = launch.options.synthetic_tokens_per_second
        self._interval = 1 / rate if rate else 0.0
        self._streams: dict[int, _Stream] = {}
        self._poisoned: set[int] = set()

    @property
    def busy(self) -> bool:
        return bool(self._streams)

    def submit(self, work: Work, body: Body) -> list[Reply]:
        if not isinstance(work, Detokenize) and len(body) > self.card.context_length * _MAX_WORD_BYTES:
            raise context_length_exceeded(self.card.context_length, f"{len(body)} bytes", "prompt")
        match work:
            case Generate():
                return [self._admit(work, decode_input(body).prompt)]
            case Tokenize():
                words = [number % len(_WORDS) for number in range(self._count(decode_prompt(body)))]
                return [Tokenized(work.request_id, words, "", [_WORDS[word] for word in words])]
            case Detokenize():
                words = [number % len(_WORDS) for number in decode_token_ids(body)]
                return [Detokenized(work.request_id, "".join(_WORDS[word] for word in words))]
        raise not_served(work)

    def _admit(self, work: Generate, prompt: Prompt) -> Accepted:
        param, sampling = prompt_param(prompt), work.sampling
        if work.score_prompt:
            raise prompt_not_scored(NO_SCORES)
        prompt_tokens = self._count(prompt)
        if not prompt_tokens:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "the prompt is empty", param)
        choices = resolve(sampling, SamplingDefaults(), self._limits, prompt_tokens, param)
        wanted = choices.max_tokens if sampling.max_tokens else min(_DEFAULT_MAX_TOKENS, choices.max_tokens)
        due = time.monotonic() + self._interval
        self._streams[work.request_id] = _Stream(wanted, len(work.resume_token_ids), due)
        return Accepted(work.request_id, prompt_tokens)

    def _count(self, prompt: Prompt) -> int:
        """A token is a word."""
        if isinstance(prompt, ChatPrompt):
            return sum(1 + len(message.text.split()) for message in prompt.messages)
        if isinstance(prompt, TextPrompt):
            return len(prompt.text.split())
        check_token_ids(prompt.token_ids, self._limits)
        return len(prompt.token_ids)

    def cancel(self, request_id: int) -> None:
        self._streams.pop(request_id, None)
        self._poisoned.discard(request_id)

    def step(self) -> list[Reply | Failed]:
        failed = self._fail_poisoned()
        if self._interval:
            self._await_next()
        now = time.monotonic()
        deltas = []
        for request_id, stream in list(self._streams.items()):
            delta = stream.advance(request_id, now, self._interval)
            if delta is not None:
                deltas.append(delta)
                if delta.finish is not None:
                    del self._streams[request_id]
        return [*failed, *deltas]

    def _await_next(self) -> None:
        due = min((stream.due for stream in self._streams.values()), default=0.0)
        time.sleep(max(0.0, min(due - time.monotonic(), _LONGEST_SLEEP)))

    def _fail_poisoned(self) -> list[Failed]:
        error = RequestError(ErrorCode.ENGINE_FAILED, "the engine failed on this request")
        failed = [Failed(request_id, error) for request_id in self._poisoned]
        for failure in failed:
            del self._streams[failure.request_id]
        self._poisoned.clear()
        return failed

    def gauges(self) -> Gauges:
        running = min(len(self._streams), self.card.slots)
        return Gauges(running, len(self._streams) - running, running / self.card.slots)

    def poison(self, request_id: int) -> None:
        if request_id in self._streams:
            self._poisoned.add(request_id)
