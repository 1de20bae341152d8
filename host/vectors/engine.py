"""Serves requests for vectors or scores: tokenize → batch across requests → compute → reply."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from host.engines.base import Body, RequestRefused
from host.one_shot import OneShot
from host.results import ResultQueue, Results
from host.stall import StallBudget
from host.vectors.batch import make_batch
from host.vectors.failures import FAILED, Failures, lost
from host.vectors.framing import PROBES
from host.vectors.model import Model
from host.vectors.planning import Limits
from host.vectors.request import FloatArray, TokenRow, VectorRequest
from host.vectors.texts import TextQueue
from host.vectors.tokenizer import Tokenizer
from host.vectors.waiting import Input, WaitingInputs
from ipc.messages import Failed, Gauges, Reply, VectorCard, Work

_POLL_SECONDS = 0.01  # new requests are received this often while passes run


class _Pass(NamedTuple):
    """A call in a thread."""

    kind: Literal["batch", "reset", "check"]
    inputs: list[Input]  # of a batch
    call: Callable[[], FloatArray | None]


class VectorEngine:
    """Implements host.engines.base.Engine for any kind of VectorRequest."""

    def __init__(
        self,
        card: VectorCard,
        read: Callable[[Work, Body], VectorRequest],
        tokenizer: Tokenizer,
        model: Model,
        limits: Limits,
        pad_token_id: int,
        results: Results,
        stall_seconds: float,
    ) -> None:
        """`read` makes the request from a work message, or raises RequestRefused."""
        self.card = card
        self._read = read
        self._model = model
        self._pad_token_id = pad_token_id
        self._live: dict[int, VectorRequest] = {}  # until they are answered
        self._texts = TextQueue(tokenizer)
        self._waiting = WaitingInputs(limits)
        self._passes: OneShot[FloatArray | None] = OneShot(StallBudget(stall_seconds), model.lanes)
        self._running: dict[Future[FloatArray | None], _Pass] = {}
        self._failures = Failures()
        self._results = ResultQueue(results)
        self._probe = tokenizer.framing.single(tokenizer.encode(PROBES[:1])[0])

    @property
    def busy(self) -> bool:
        return bool(self._live) or bool(self._running)

    def submit(self, work: Work, body: Body) -> list[Reply]:
        request = self._read(work, body)
        self._live[work.request_id] = request
        self._texts.add(request)
        return []

    def cancel(self, request_id: int) -> None:
        request = self._live.pop(request_id, None)
        if request is not None:
            self._forget(request)

    def poison(self, request_id: int) -> None:
        """Let each pass that computes this request's inputs fail."""
        request = self._live.get(request_id)
        if request is not None:
            request.poisoned = True

    def gauges(self) -> Gauges:
        computing = {item.request.request_id for each in self._running.values() for item in each.inputs}
        running = len(computing & self._live.keys())
        return Gauges(running, len(self._live) - running)

    def step(self) -> list[Reply | Failed]:
        ended = self._wait()
        self._start_passes()
        messages = self._tokenize()
        self._start_passes()
        for future in ended:
            messages += self._settle(future)
        replies = self._results.replies()
        for reply in replies:
            del self._live[reply.request_id]
        return [*messages, *replies]

    def _wait(self) -> list[Future[FloatArray | None]]:
        """The passes that have ended, as soon as there is something to do."""
        if self._running:
            return self._passes.ended(0 if self._texts else _POLL_SECONDS)
        if self._results and not self._texts:  # nothing to do but to wait for room in the arena
            time.sleep(_POLL_SECONDS)
        return []

    def _tokenize(self) -> list[Reply | Failed]:
        if not self._texts:
            return []
        ready, refused = self._texts.advance()
        for request in ready:
            try:
                rows = request.token_rows()
            except RequestRefused as refusal:
                refused[request.request_id] = refusal
            else:
                request.expect(rows)
                self._waiting.add(request, rows)
        return [self._fail(Failed(request_id, refusal.error)) for request_id, refusal in refused.items()]

    def _fail(self, failed: Failed) -> Failed:
        self.cancel(failed.request_id)
        return failed

    # --- passes -----------------------------------------------------------------------------------

    def _start_passes(self) -> None:
        while self._passes.free and (each := self._next_pass()) is not None:
            self._running[self._passes.start(each.call)] = each

    def _next_pass(self) -> _Pass | None:
        failures = self._failures
        if failures.needs_reset or failures.accused:
            if self._running:
                return None
            if failures.needs_reset:
                return _Pass("reset", [], self._model.reset)
            return _Pass("check", [], partial(self._compute, [self._probe], 1, len(self._probe.ids)))
        if suspect := failures.next_suspect():
            return self._batch([suspect], 1, suspect.length)
        if self._waiting:
            plan, inputs = self._waiting.next_batch()
            return self._batch(inputs, plan.rows, plan.length)
        return None

    def _batch(self, inputs: list[Input], rows: int, length: int) -> _Pass:
        spoiled = any(item.request.poisoned for item in inputs)
        call = partial(self._compute, [item.row for item in inputs], rows, length, spoiled)
        return _Pass("batch", inputs, call)

    def _compute(
        self, token_rows: list[TokenRow], rows: int, length: int, spoiled: bool = False
    ) -> FloatArray:
        batch = make_batch(token_rows, rows, length, self._pad_token_id)
        if spoiled:  # no model takes ids of one dimension: the native call itself is to raise
            batch = batch._replace(ids=batch.ids.ravel())
        return self._model.run(batch)

    def _settle(self, future: Future[FloatArray | None]) -> list[Reply | Failed]:
        each = self._running.pop(future)
        error = future.exception()
        if error is not None:
            self._note(each, error)
            return []
        if each.kind == "reset":
            self._failures.needs_reset = False
            return []
        if each.kind == "check":
            return [self._fail(failed) for failed in self._failures.convict()]
        values = future.result()
        assert values is not None, "a batch has values"
        return self._store(each.inputs, values)

    def _note(self, each: _Pass, error: BaseException) -> None:
        if each.kind != "batch":
            raise lost(error) from error
        live = [item for item in each.inputs if item.request.request_id in self._live]
        self._failures.note(live, len(each.inputs) == 1, error)
        for request in self._failures.accused:
            self._waiting.drop(request)

    def _store(self, inputs: list[Input], values: FloatArray) -> list[Reply | Failed]:
        positions: dict[VectorRequest, list[int]] = {}
        for position, item in enumerate(inputs):
            if item.request.request_id in self._live:
                positions.setdefault(item.request, []).append(position)
        finite = np.logical_and.reduce(np.isfinite(values), axis=1)
        failed: list[Reply | Failed] = []
        for request, own in positions.items():
            if not finite[own].all():  # a fault of the model that no error shows
                failed.append(self._fail(Failed(request.request_id, FAILED)))
                continue
            request.store([inputs[position].index for position in own], values[own])
            if request.complete:
                self._reply(request)
        return failed

    def _reply(self, request: VectorRequest) -> None:
        tensor = request.tensor()
        self._results.add(request.request_id, tensor, lambda payload: request.reply(payload, tensor.shape))

    def _forget(self, request: VectorRequest) -> None:
        self._texts.drop(request)
        self._waiting.drop(request)
        self._failures.drop(request)
        self._results.drop(request.request_id)
