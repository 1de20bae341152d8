"""An engine without a model: tokens at a set rate, to measure everything around an engine and to break it."""

import time

from host.engines.base import RequestRefused, prompt_param
from host.model_folder import SamplingDefaults
from host.sampling import Limits, check_token_ids, resolve
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Accepted,
    ChatPrompt,
    Completed,
    Delta,
    Detokenized,
    Failed,
    Gauges,
    InlinePrompt,
    Launch,
    ModelCard,
    Sampling,
    Step,
    TextPrompt,
    ToFrontend,
    Tokenized,
)

_WORDS = (" the", " engine", " turns", " and", " the", " air", " moves", ".")
_CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }} {% endfor %}"  # in spirit
_VOCAB_SIZE = 32_000
_CONTEXT = 32_768  # tokens, unless the launch says otherwise
_DEFAULT_MAX_TOKENS = 16
_LONGEST_SLEEP = 0.005  # seconds: admission and cancel wait for it


class _Stream:
    __slots__ = ("due", "made", "max_tokens")

    def __init__(self, max_tokens: int, made: int, due: float) -> None:
        self.max_tokens = max_tokens
        self.made = made
        self.due = due  # monotonic time of the next token


class SyntheticEngine:
    """One token per request per step, each request not faster than the launch's rate."""

    def __init__(self, launch: Launch) -> None:
        context = launch.context_length or _CONTEXT
        self._limits = Limits(context, _VOCAB_SIZE, kv_cache_tokens=context * launch.max_num_seqs)
        self.card = ModelCard(
            context_length=context,
            vocab_size=_VOCAB_SIZE,
            kv_cache_tokens=self._limits.kv_cache_tokens,
            max_num_seqs=launch.max_num_seqs,
            chat_template=_CHAT_TEMPLATE,
            device_name="synthetic",
            load_seconds=0.0,
        )
        rate = launch.synthetic_tokens_per_second
        self._interval = 1 / rate if rate else 0.0
        self._streams: dict[int, _Stream] = {}
        self._poisoned: set[int] = set()

    @property
    def busy(self) -> bool:
        return bool(self._streams)

    def admit(
        self, request_id: int, prompt: InlinePrompt, sampling: Sampling, resume_token_ids: list[int]
    ) -> Accepted:
        prompt_tokens = self._count(prompt)
        if not prompt_tokens:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "the prompt is empty", prompt_param(prompt))
        choices = resolve(sampling, SamplingDefaults(), self._limits, prompt_tokens, prompt_param(prompt))
        wanted = choices.max_tokens if sampling.max_tokens else min(_DEFAULT_MAX_TOKENS, choices.max_tokens)
        due = time.monotonic() + self._interval
        self._streams[request_id] = _Stream(wanted, len(resume_token_ids), due)
        return Accepted(request_id, prompt_tokens)

    def _count(self, prompt: InlinePrompt) -> int:
        """A token is a word."""
        if isinstance(prompt, ChatPrompt):
            return sum(1 + len((message.content or "").split()) for message in prompt.messages)
        if isinstance(prompt, TextPrompt):
            return len(prompt.text.split())
        check_token_ids(prompt.token_ids, self._limits)
        return len(prompt.token_ids)

    def tokenize(self, request_id: int, prompt: InlinePrompt) -> Tokenized:
        """Every word becomes one of the few there are."""
        words = [number % len(_WORDS) for number in range(self._count(prompt))]
        return Tokenized(request_id, words, "", [_WORDS[word] for word in words])

    def detokenize(self, request_id: int, token_ids: list[int], skip_special_tokens: bool) -> Detokenized:  # noqa: ARG002 - there are none
        return Detokenized(request_id, "".join(_WORDS[number % len(_WORDS)] for number in token_ids))

    def cancel(self, request_id: int) -> None:
        self._streams.pop(request_id, None)
        self._poisoned.discard(request_id)

    def step(self) -> list[ToFrontend]:
        failed = self._fail_poisoned()
        if self._interval:
            self._await_next()
        now = time.monotonic()
        deltas, completed = [], []
        for request_id, stream in self._streams.items():
            if stream.made >= stream.max_tokens:  # resumed after its last token
                completed.append(request_id)
            elif stream.due <= now:
                word = stream.made % len(_WORDS)
                deltas.append(Delta(request_id, [word], _WORDS[word]))
                stream.made += 1
                stream.due += self._interval
                if stream.made == stream.max_tokens:
                    completed.append(request_id)
        for request_id in completed:
            del self._streams[request_id]
        steps: list[ToFrontend] = [Step(deltas)] if deltas else []
        return [*failed, *steps, *(Completed(request_id, "length") for request_id in completed)]

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
        running = min(len(self._streams), self.card.max_num_seqs)
        return Gauges(running, len(self._streams) - running, running / self.card.max_num_seqs)

    def poison(self, request_id: int) -> None:
        if request_id in self._streams:
            self._poisoned.add(request_id)
