"""Whose turn it is: prompts to be scored beside texts to be generated. No engine: the pipeline is a stub."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import openvino_genai as genai
import pytest

from host.detokenizer import BatchedDetokenizer, VocabularyDetokenizer
from host.engines.base import RequestRefused
from host.engines.batch import Batch
from host.engines.pipeline import Pipeline
from host.engines.prompt_ids import ReadPrompt
from host.engines.scoring import Scorer, uncached_runs
from host.engines.text import TextEngine
from host.model_folder import SamplingDefaults
from host.sampling import Limits
from host.templates.turns import NO_TURNS
from ipc.errors import ErrorCode
from ipc.messages import (
    Delta,
    Failed,
    Generate,
    Prompt,
    PromptScored,
    Reply,
    Sampling,
    TextCard,
    TextInput,
    TokenPrompt,
)

BLOCK, ROWS, ROOM = 4, 100, 400  # tokens
_STATUS = genai.GenerationStatus
_GOES_ON, _LENGTH = genai.GenerationFinishReason.NONE, genai.GenerationFinishReason.LENGTH


class _Handle:
    def __init__(self, ids: list[int], config: Any) -> None:
        self.ids, self.config = ids, config
        self.outputs: list[Any] = []
        self.generated = 0
        self.status = _STATUS.RUNNING

    def cancel(self) -> None:
        self.status = _STATUS.CANCEL

    def can_read(self) -> bool:
        return bool(self.outputs)

    def read(self) -> dict[int, Any]:
        return {0: self.outputs.pop(0)}

    def get_status(self) -> Any:
        return self.status

    def advance(self) -> None:
        self.generated += 1
        ends = self.generated == self.config.max_new_tokens
        scores = [-float(number % ROWS) for number in self.ids] if self.config.echo else []
        self.outputs.append(
            SimpleNamespace(
                generated_ids=[65],
                generated_log_probs=[*scores, -1.0],
                finish_reason=_LENGTH if ends else _GOES_ON,
            )
        )
        if ends:
            self.status = _STATUS.FINISHED


class _Native:
    """ContinuousBatchingPipeline's calls."""

    def __init__(self) -> None:
        self.inside: list[_Handle] = []
        self.refuses: Callable[[list[int]], bool] = lambda _: False
        self.fails_on: list[int] | None = None  # a prompt that makes a step raise
        self.starves = False
        self.steps: list[int] = []  # how many prompts each scored

    def add_request(self, _number: int, ids: Any, config: Any) -> _Handle:
        handle = _Handle(ids.data.flatten().tolist(), config)
        if self.refuses(handle.ids):
            raise RuntimeError("refused")
        self.inside.append(handle)
        return handle

    def step(self) -> None:
        self.inside = [handle for handle in self.inside if handle.status == _STATUS.RUNNING]
        echoes = [handle.config.echo for handle in self.inside]
        assert all(echoes) or not any(echoes), "scoring has the pipeline to itself"
        if any(handle.ids == self.fails_on for handle in self.inside):
            raise RuntimeError("step failed")
        self.steps.append(sum(echoes))
        for handle in self.inside:
            if self.starves:
                handle.status = _STATUS.IGNORED
            else:
                handle.advance()

    def get_metrics(self) -> Any:
        return SimpleNamespace(scheduled_requests=len(self.inside), cache_usage=0.0)


class _Pipeline(Pipeline):
    def __init__(self, native: _Native, scores: bool, caches: bool) -> None:
        self.native = native
        self.eos_token_ids = set()
        self.assist: Any = SimpleNamespace(apply=lambda _: None)
        self._shape = None
        self._batch = Batch(native, None, BLOCK, 64)
        self.scorer = Scorer(self._batch, caches, ROWS, BLOCK, ROOM) if scores else None
        self.step, self.plan, self.stop_pieces = self._batch.step, self._batch.plan, self._batch.stop_pieces


class _Reader:
    def read(self, prompt: Prompt, keep: int | None = None) -> ReadPrompt:
        assert isinstance(prompt, TokenPrompt)
        return ReadPrompt(prompt.token_ids)


class _Host:
    def __init__(self, scores: bool = True, caches: bool = False) -> None:
        self.native = _Native()
        card = TextCard(
            context_length=5000,
            vocab_size=ROWS,
            kv_cache_tokens=ROOM,
            slots=4,
            device_name="",
            load_seconds=0.0,
            fingerprint="",
            properties={},
            chat_template="",
        )
        self.engine = TextEngine(
            _Pipeline(self.native, scores, caches),
            _Reader(),  # type: ignore[arg-type]
            VocabularyDetokenizer([bytes([number]) for number in range(ROWS)], {}, "replace"),
            SamplingDefaults(),
            Limits(5000, ROWS, 5000),
            NO_TURNS,
            card,
        )
        self.replies: list[Reply | Failed] = []
        self.count = 0

    def start(self, ids: list[int], scored: bool = False, resume: Sequence[int] = (), **sampling: Any) -> int:
        self.count += 1
        body = msgspec.msgpack.encode(TextInput(TokenPrompt(ids)))
        values = {"temperature": 0.0, "max_tokens": 0, **sampling}
        work = Generate(self.count, b"", Sampling(**values), list(resume), score_prompt=scored)
        self.engine.submit(work, body)
        return self.count

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.replies += self.engine.step()

    def run(self) -> None:
        for _ in range(5000):
            if not self.engine.busy:
                return
            self.step()
        raise AssertionError("it never comes to rest")

    def of(self, kind: type[Any], request: int) -> list[Any]:
        return [reply for reply in self.replies if isinstance(reply, kind) and reply.request_id == request]

    def tokens(self, request: int) -> int:
        return sum(len(delta.token_ids) for delta in self.of(Delta, request))


def test_a_request_that_is_refused_for_its_scores_is_gone() -> None:
    host = _Host(scores=False)
    with pytest.raises(RequestRefused, match="log probabilities of the prompt are not available"):
        host.start([1, 2, 3], scored=True)
    assert not host.engine.busy


def test_others_go_on_after_a_prompt_that_waited_long_is_cancelled() -> None:
    host = _Host()
    host.start([1], max_tokens=2000)
    scored = host.start([1, 2], scored=True)
    host.step(502)
    host.engine.cancel(scored)
    other = host.start([3], max_tokens=5)
    host.step(10)
    assert host.tokens(other) == 5


def test_prompts_one_after_the_other_leave_room_for_texts() -> None:
    host = _Host()
    scored = [host.start([1] * 40, scored=True) for _ in range(3)]
    host.step()
    text = host.start([2], max_tokens=3)
    for _ in range(20):
        scored.append(host.start([1] * 40, scored=True))
        host.step()
    assert host.tokens(text) == 3
    host.run()
    assert all(host.of(PromptScored, request) for request in scored)


@pytest.mark.parametrize("sampling", [{}, {"seed": 7, "temperature": 1.0}], ids=["continued", "replayed"])
def test_a_long_text_is_put_back_for_a_prompt_and_loses_nothing(sampling: dict[str, Any]) -> None:
    host = _Host()
    text = host.start([1], max_tokens=1800, **sampling)
    host.step(10)
    scored = [host.start([1, 2], scored=True)]
    newcomer = host.start([3], max_tokens=5)
    host.step(520)
    assert host.of(PromptScored, scored[0])
    host.step(10)
    assert host.tokens(newcomer) == 5
    for _ in range(30):
        scored.append(host.start([1, 2], scored=True))
        host.step(200)
    host.run()
    assert host.tokens(text) == 1800
    assert all(host.of(PromptScored, request) for request in scored)
    assert len(host.native.steps) < 3 * 1800 + 3000  # what is generated again does not grow without bound


def test_a_prompt_that_the_pipeline_refuses_fails_alone() -> None:
    host = _Host(caches=True)
    host.native.refuses = lambda ids: ids[4:] == [77] * 5  # in the second of its runs
    good, bad, also_good = (host.start([1, 2, 3, 4, *[last] * 5], scored=True) for last in (5, 77, 5))
    host.run()
    (failed,) = host.of(Failed, bad)
    assert failed.error.code is ErrorCode.ENGINE_FAILED
    assert host.of(PromptScored, good) and host.of(PromptScored, also_good)


def test_a_step_that_fails_fails_the_guilty_prompt_alone() -> None:
    host = _Host()
    host.native.fails_on = [1, 2, 13]
    good, bad, also_good = (host.start([1, 2, last], scored=True) for last in (5, 13, 5))
    host.run()
    assert [type(reply) for reply in host.replies if reply.request_id == bad] == [Failed]
    assert host.of(PromptScored, good) and host.of(PromptScored, also_good)
    assert max(host.native.steps) == 1  # each was tried alone


def test_a_prompt_that_can_never_have_room_for_its_runs_is_refused() -> None:
    host = _Host(caches=True)
    scorer = host.engine._pipeline.scorer
    assert scorer is not None
    for length in range(1, 3 * BLOCK):
        runs = uncached_runs([1] * length, ROWS, BLOCK, scorer._draw)
        blocks = sum(-(-(len(run.ids) + 1) // BLOCK) for run in runs)
        assert scorer.room_needed(length) == blocks * BLOCK
    host.engine._limits = Limits(5000, ROWS, ROOM)
    host.start([1] * (ROOM - 3 * BLOCK), scored=True)
    with pytest.raises(RequestRefused, match=f"and this server's has {ROOM}") as caught:
        host.start([1] * (ROOM - 1 * BLOCK), scored=True)
    assert caught.value.error.code is ErrorCode.KV_CACHE_EXCEEDED
    host.run()


def test_a_prompt_that_finds_no_room_is_told_so() -> None:
    host = _Host()
    host.native.starves = True
    scored = host.start([1, 2, 3], scored=True)
    host.run()
    (failed,) = host.of(Failed, scored)
    assert failed.error.code is ErrorCode.KV_CACHE_EXCEEDED


class _SentencePiece:
    """A tokenizer whose texts begin without the space of their first piece."""

    def get_vocab(self) -> dict[bytes, int]:
        return {"\u2581a".encode(): 65, b"<s>": 1}

    def decode(self, tokens: list[list[int]], skip_special_tokens: bool = True) -> list[str]:
        return ["".join(" a" for token in ids if token == 65).removeprefix(" ") for ids in tokens]


def test_the_first_token_after_a_recovery_keeps_its_space() -> None:
    host = _Host()
    host.engine._detokenizer = BatchedDetokenizer(_SentencePiece(), {1: "<s>"})
    for resumed in ([], [65]):
        number = host.start([1], max_tokens=2, logprobs=True, resume=resumed)
        host.run()
        pieces = [piece for delta in host.of(Delta, number) for piece in delta.token_bytes]
        assert pieces == [b"a", b" a"][len(resumed) :]


def test_choices_of_one_payload_with_other_reasoning_are_read_anew() -> None:
    host = _Host()
    host.start([1], max_tokens=1)
    first = host.engine._last_read
    host.start([1], max_tokens=1)
    assert host.engine._last_read is first
    host.start([1], max_tokens=1, reasoning_markers=["<think>", "</think>"])
    assert host.engine._last_read is not first
