"""Text generation on OpenVINO GenAI's ContinuousBatchingPipeline."""

import sys
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from host.detokenizer import Detokenizer
from host.engines import failures
from host.engines.base import Body, EngineLost, RequestRefused, not_served
from host.engines.pipeline import Pipeline
from host.engines.prompt_ids import PromptReader
from host.engines.prompts import decode_input, decode_prompt, decode_token_ids, prompt_param
from host.engines.request import Handle, PromptContent, ReplayMismatch, TextRequest
from host.engines.tokens import Tokens
from host.grammar import structural_tag
from host.model_folder import SamplingDefaults
from host.native_errors import grammar_fault, is_wedged, summary
from host.recovery import Standing, plan_recovery
from host.sampling import Limits, check_token_ids, resolve, tokens_to_keep, wanted_tokens
from host.templates.turns import NO_TURNS, TurnMarkers
from ipc.continuation import Continuation
from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    PROMPT_TAIL,
    Accepted,
    ChatPrompt,
    Delta,
    Detokenize,
    Failed,
    Finish,
    FinishReason,
    Gauges,
    Generate,
    MediaPart,
    Prompt,
    PromptScored,
    Reply,
    TextCard,
    Tokenize,
    TokenPrompt,
    Work,
)

_PATIENCE = 500  # steps


class _Read(NamedTuple):
    """A payload, read."""

    key: tuple[object, ...]  # all that the other fields depend on
    prompt: Prompt
    ids: list[int]
    span: tuple[int, int]  # the part of the ids that is the client's text
    text: str
    images: tuple[MediaPart, ...]
    tag: str  # the structural tag of its grammar; empty for none


class TextEngine:
    """Owns the pipeline and the live requests."""

    def __init__(
        self,
        pipeline: Pipeline,
        prompts: PromptReader,
        detokenizer: Detokenizer[Any],
        defaults: SamplingDefaults,
        limits: Limits,
        turns: TurnMarkers,
        card: TextCard,
    ) -> None:
        self.card = card
        self._tokens = Tokens(prompts, detokenizer, limits)
        self._pipeline = pipeline
        self._prompts = prompts
        self._detokenizer = detokenizer
        self._defaults = defaults
        self._limits = limits
        self._turns = turns
        self._live: dict[int, TextRequest] = {}
        self._waiting: deque[TextRequest] = deque()  # live, but not in the pipeline yet
        self._cautious = False  # after a failure newcomers enter one at a time, to find the guilty one
        self._crowd = card.slots  # in the pipeline at most; fewer after it ran out of KV cache
        self._over: list[TextRequest] = []  # nothing is left to do but to report their end
        self._unscored: deque[TextRequest] = deque()  # live, their prompts to be scored before they wait
        self._steps_deferred = 0  # in which a prompt waited for being scored
        self._suspects = 0  # prompts to be scored alone, since one of them made a step fail
        self._others_first = False  # prompts were scored last, so that others are let in before the next
        self._uncounted: list[tuple[Handle, int, Delta]] = []  # see `_counted`
        self._last_read: _Read | None = None
        self._dropped = False  # the pipeline still holds a cancelled request until its next step
        self.is_warming_up = False  # an error of the engine is one of the load

    @property
    def busy(self) -> bool:
        return bool(self._live or self._uncounted) or self._dropped

    def submit(self, work: Work, body: Body) -> list[Reply]:
        match work:
            case Generate():
                return self._admit(work, self._read(work, body))
            case Tokenize():
                prompt = decode_prompt(body, self.card.takes_images)
                return [self._tokens.tokenize(work.request_id, prompt)]
            case Detokenize():
                ids = decode_token_ids(body)
                return [self._tokens.detokenize(work.request_id, ids, work.skip_special_tokens)]
        raise not_served(work)

    def _read(self, work: Generate, body: Body) -> _Read:
        """The choices of one request arrive one after the other, with one payload: it is read once."""
        sampling = work.sampling
        keep = tokens_to_keep(sampling, self._limits)
        key = bytes(body), keep, sampling.may_reason, tuple(sampling.reasoning_markers)
        if self._last_read is None or self._last_read.key != key:
            given = decode_input(body, self.card.takes_images)
            read = self._prompts.read(given.prompt, keep)
            tag = structural_tag(
                given.grammar,
                sampling.reasoning_markers,
                read.text,
                self._limits.vocabulary,
                may_reason=sampling.may_reason,
            )
            span = read.span or (0, len(read.ids))
            self._last_read = _Read(key, given.prompt, read.ids, span, read.text, read.images, tag)
        return self._last_read

    def _admit(self, work: Generate, read: _Read) -> list[Reply]:
        prompt, sampling, param = read.prompt, work.sampling, prompt_param(read.prompt)
        if not read.ids:
            raise RequestRefused(ErrorCode.INVALID_VALUE, "the prompt is empty", param)
        if isinstance(prompt, TokenPrompt):
            check_token_ids(read.ids, self._limits)
        choices = resolve(sampling, self._defaults, self._limits, len(read.ids), param, read.tag)
        self._pipeline.check(choices, len(read.ids) + work.done_units, param)
        is_chat = isinstance(prompt, ChatPrompt)
        goes_on = not isinstance(prompt, ChatPrompt) or prompt.continue_final_message
        stream = self._detokenizer.open(choices.skip_special_tokens, read.ids if goes_on else ())
        request = TextRequest(
            work.request_id, read.ids, choices, stream, self._turns if is_chat else NO_TURNS
        )
        if self.card.takes_images:
            request.content = PromptContent(read.text, read.images, wanted_tokens(sampling, self._defaults))
            request.by_replay = choices.continuation(bool(read.images)) is not Continuation.BY_TEXT
        if work.resume_token_ids:
            self._resume(request, work.resume_token_ids)
        if work.score_prompt:
            self._check_scoring(len(read.ids), param)
            request.given = read.span
        self._live[work.request_id] = request
        if work.score_prompt:
            self._unscored.append(request)
        else:
            self._queue(request)
        tail = read.text[-PROMPT_TAIL:] if is_chat else ""
        accepted = Accepted(work.request_id, len(read.ids), tail, read.ids if work.report_prompt else [])
        if read.images and request.finish_reason is None:
            request.accepted = accepted  # the pipeline alone can count the tokens of images, and may refuse
            return []
        return [accepted]

    def _check_scoring(self, prompt_tokens: int, prompt_param: str) -> None:
        scorer = self._pipeline.scorer
        if scorer is None or scorer.refusal:
            raise failures.prompt_not_scored(scorer.refusal if scorer is not None else failures.NO_SCORES)
        needed, there = scorer.room_needed(prompt_tokens), self._limits.kv_cache_tokens
        if needed > there:
            raise RequestRefused(
                ErrorCode.KV_CACHE_EXCEEDED,
                f"log probabilities of a prompt of {prompt_tokens} tokens need a KV cache of {needed} "
                f"tokens, and this server's has {there}",
                prompt_param,
            )

    def _queue(self, request: TextRequest) -> None:
        """Let a request generate, if it is to."""
        if not request.choices.max_tokens:
            request.finish_reason = "length"
        (self._waiting if request.finish_reason is None else self._over).append(request)

    def _resume(self, request: TextRequest, ids: list[int]) -> None:
        """Bring a request to where an earlier host left it. What that host has shown is not shown again."""
        check_token_ids(ids, self._limits)
        before_stops = max(0, request.choices.min_tokens - 1)  # stop strings count from min_tokens on
        for part in (ids[:before_stops], ids[before_stops:]):
            ids = request.visible(request.restore(part), self._pipeline.eos_token_ids)
            (text,) = self._detokenizer.feed([(request.stream, ids)])
            self._detokenizer.shown_bytes(request.stream, ids)  # so that the next id begins no text
            request.show(text)
        if request.finish_reason is None:
            request.finish_reason = self._pipeline.finish_reason(request)

    def cancel(self, request_id: int) -> None:
        request = self._live.pop(request_id, None)
        if request is not None:
            self._drop(request)

    def poison(self, request_id: int) -> None:
        request = self._live.get(request_id)
        if request is not None:
            self._drop(request)
            request.poisoned, request.proven = True, False
            self._waiting.appendleft(request)

    def gauges(self) -> Gauges:
        live = len(self._live)
        scheduled, usage = self._pipeline.load()
        running = min(scheduled, live)
        return Gauges(running, live - running, usage if live else 0.0)

    def step(self) -> list[Reply | Failed]:
        self._make_room()
        admitted: list[Reply | Failed] = []
        if self._unscored:
            admitted += self._begin_scoring()
        else:
            self._steps_deferred = self._suspects = 0
        if self._waiting and not self._scoring_has_its_turn:
            admitted += self._top_up()
        over = self._deltas([(request, []) for request in self._over])
        self._over.clear()
        self._dropped = False
        try:
            self._pipeline.step()
        except EngineLost:
            raise
        except Exception as error:
            return [*admitted, *over, *self._recover(error)]
        return [*admitted, *over, *self._counted(), *self._collect(), *self._scored()]

    @property
    def _scoring_has_its_turn(self) -> bool:
        scorer = self._pipeline.scorer
        if scorer is not None and scorer.busy:
            return True
        return bool(self._unscored) and not self._others_first and self._steps_deferred > _PATIENCE

    def _begin_scoring(self) -> list[Reply | Failed]:
        """Prompts are scored while nothing else is in the pipeline. Others pass them by, but not for ever."""
        scorer = self._pipeline.scorer
        assert scorer is not None, "others were refused"
        if scorer.refusal:
            return [self._fail(request, failures.NOT_SCORED) for request in list(self._unscored)]
        if scorer.busy and self._waiting:
            return []
        self._others_first = self._others_first and bool(self._waiting)
        inside = list(self._in_pipeline())
        if inside or scorer.is_kept_waiting or self._dropped or self._others_first:
            self._steps_deferred += 1
            if self._scoring_has_its_turn and all(request.can_be_put_back for request in inside):
                self._put_back(inside)
            return []
        self._steps_deferred = 0
        failed: list[Reply | Failed] = []
        while self._unscored and scorer.has_room_for(self._unscored[0]):
            if self._suspects and scorer.busy:
                break
            request = self._unscored[0]
            try:
                if not scorer.begin(request):
                    break
            except RuntimeError as error:
                failed.append(self._fail(request, failures.refusal(error)))
                self._dropped = True
                continue
            self._unscored.popleft()
            if self._suspects:
                self._suspects -= 1
                break
        return failed

    def _scored(self) -> list[Reply | Failed]:
        scorer = self._pipeline.scorer
        if scorer is None or not scorer.busy:
            return []
        replies: list[Reply | Failed] = []
        for request, scores in scorer.collect():
            if isinstance(scores, RequestError):
                self._dropped = True
                replies.append(self._fail(request, scores))
                continue
            ids = request.prompt_ids
            first, last = request.given
            pieces = self._detokenizer.text_bytes(ids[first:last])
            pieces = [b""] * first + pieces + [b""] * (len(ids) - last)
            replies.append(PromptScored(request.request_id, scores, ids, pieces))
            self._queue(request)
        self._others_first = not scorer.busy
        return replies

    def _make_room(self) -> None:
        """Let those that came last wait again before the pipeline runs out of KV cache: it would cut prompts
        short, which spoils its prefix cache."""
        inside = list(self._in_pipeline()) if self._pipeline.short_of_room else []
        while len(inside) > 1 and self._pipeline.short_of_room:
            request = inside.pop()
            self._drop(request)
            self._waiting.appendleft(request)

    def _top_up(self) -> list[Reply | Failed]:
        """Fill the batch. The pipeline itself does not hold to max_num_seqs under dynamic split fuse.

        Images of one request at most are encoded between two steps, since the others' texts wait meanwhile.
        """
        replies: list[Reply | Failed] = []
        self._pipeline.plan(self._generating)
        while self._waiting and self._generating < self._crowd:
            if self._cautious and not all(request.proven for request in self._in_pipeline()):
                break
            request = self._waiting[0]
            try:
                if not self._pipeline.add(request):
                    break
            except RuntimeError as error:
                del self._live[request.request_id]
                replies.append(Failed(request.request_id, failures.refusal(error)))
            except RequestRefused as refusal:
                del self._live[request.request_id]
                replies.append(Failed(request.request_id, refusal.error))
            else:
                if request.accepted is not None:
                    replies.append(request.accepted)
                    request.accepted = None
            self._waiting.popleft()
            self._others_first = False
            if request.has_images:
                break
        if not self._waiting:
            self._cautious = False
            self._crowd = self.card.slots
        return replies

    @property
    def _generating(self) -> int:
        return len(self._live) - len(self._waiting) - len(self._unscored)

    def _in_pipeline(self) -> Iterable[TextRequest]:
        return (request for request in self._live.values() if request.handle is not None)

    def _drop(self, request: TextRequest) -> None:
        """Take a request out of the pipeline; it is gone after the next step."""
        if request in self._waiting:
            self._waiting.remove(request)
        elif request in self._unscored:
            self._unscored.remove(request)
        elif self._pipeline.scorer is not None and self._pipeline.scorer.drop(request):
            self._dropped = True
        elif request in self._over:
            self._over.remove(request)
        elif request.handle is not None:
            self._pipeline.drop(request)
            self._dropped = True

    # --- after a good step ------------------------------------------------------------------------

    def _collect(self) -> list[Reply | Failed]:
        gained: list[tuple[TextRequest, list[int]]] = []
        failed: list[Reply | Failed] = []
        starved: list[TextRequest] = []
        inside = list(self._in_pipeline())
        for request in inside:
            try:
                ids = self._pipeline.read(request)
            except ReplayMismatch:
                if request.by_replay and request.choices.can_be_continued:  # its text is known to the client
                    request.by_replay = False
                    self._drop(request)
                    self._waiting.appendleft(request)
                else:
                    failed.append(self._fail(request, failures.NOT_REPRODUCIBLE))
                continue
            if ids is None:
                starved.append(request)
            elif ids or request.finish_reason is not None:
                gained.append((request, ids))
        if starved and len(inside) == 1 and not self._pipeline.starved:
            failed.append(self._fail(starved.pop(), failures.OUT_OF_KV_CACHE))
        if starved:  # the pipeline may give up all that it holds at once, though each had room alone
            self._put_back(starved)
            self._crowd = max(1, len(inside) // 2)
        return [*self._deltas(gained), *failed]

    def _put_back(self, requests: list[TextRequest]) -> None:
        """Let requests in the pipeline wait again, before all others."""
        for request in requests:
            self._drop(request)
        self._waiting.extendleft(reversed(requests))

    def _deltas(self, gained: list[tuple[TextRequest, list[int]]]) -> list[Reply | Failed]:
        """Decode and match stop strings over the batch; what has ended leaves with its last delta."""
        if not gained:
            return []
        eos = self._pipeline.eos_token_ids
        visible = [(request.stream, request.visible(ids, eos)) for request, ids in gained]
        texts = self._detokenizer.feed(visible)
        deltas: list[Reply | Failed] = []
        for (request, ids), text in zip(gained, texts, strict=True):
            if request.finish_reason is not None:
                text += self._detokenizer.finish(request.stream)
            delta = Delta(request.request_id, ids, request.show(text))
            if len(request.generated) == len(ids):
                delta.cached_tokens = request.cached_tokens or 0
            if request.choices.logprobs:
                delta.logprobs = request.logprobs
                delta.token_bytes = self._shown_bytes(request, ids)
            if request.finish_reason is not None:
                handle = request.handle
                delta.finish = self._end(request, request.finish_reason)
                if handle is not None and request.has_images and request.stopped_early:
                    self._uncounted.append((handle, request.restored, delta))
                    continue
            deltas.append(delta)
        return deltas

    def _shown_bytes(self, request: TextRequest, ids: list[int]) -> list[bytes]:
        """What each id adds to the text. One that is hidden adds nothing."""
        visible = request.visible(ids, self._pipeline.eos_token_ids)
        shown = iter(self._detokenizer.shown_bytes(request.stream, visible))
        at = 0
        pieces = []
        for number in ids:  # the visible ones are the same without some
            is_shown = at < len(visible) and visible[at] == number
            at += is_shown
            pieces.append(next(shown) if is_shown else b"")
        return pieces

    def _end(self, request: TextRequest, reason: FinishReason) -> Finish:
        del self._live[request.request_id]
        if not self._live:
            self._last_read = None
        finish = Finish(reason, request.stop)
        if request.stopped_early:
            self._drop(request)
        elif request.has_images and request.handle is not None:
            finish.prompt_tokens = self._pipeline.prompt_tokens(request.handle, request.restored)
        return finish

    def _counted(self) -> list[Reply | Failed]:
        """The last deltas of requests about images that ended before the pipeline would have ended them: only
        after another step it reports how many tokens their prompts have."""
        for handle, restored, delta in self._uncounted:
            if delta.finish is not None:
                delta.finish.prompt_tokens = self._pipeline.prompt_tokens(handle, restored)
        deltas: list[Reply | Failed] = [delta for _, _, delta in self._uncounted]
        self._uncounted.clear()
        return deltas

    def _fail(self, request: TextRequest, error: RequestError) -> Failed:
        del self._live[request.request_id]
        self._drop(request)
        return Failed(request.request_id, error)

    # --- after a failed step ----------------------------------------------------------------------

    def _recover(self, error: Exception) -> list[Reply | Failed]:
        """The pipeline is poisoned: empty it, then put back all but the guilty request. Raises EngineLost."""
        print(f"engine step failed: {error}", file=sys.stderr, flush=True)
        in_pipeline = list(self._in_pipeline())
        fault = grammar_fault(error)
        plan = plan_recovery(
            [
                Standing(r.request_id, r.proven or bool(fault and not r.choices.structural_tag), r.settled)
                for r in in_pipeline
            ]
        )
        if plan.lost or is_wedged(error) or self.is_warming_up:
            raise EngineLost(f"the engine failed: {summary(error)}") from error
        for request in in_pipeline:
            self._drop(request)
        accused = self._stop_scoring()
        self._pipeline.stop_pieces()
        try:
            self._pipeline.step()
        except Exception as again:
            raise EngineLost(f"the engine could not be emptied after it failed: {summary(again)}") from again
        self._dropped = False
        self._waiting.extendleft(
            self._live[request_id] for request_id in reversed(plan.readd + plan.probation)
        )
        self._cautious = bool(plan.probation)
        failed: list[Reply | Failed] = [self._fail(request, failures.ENGINE_FAILED) for request in accused]
        for request_id in plan.fail:
            del self._live[request_id]
            failed.append(
                Failed(request_id, failures.ENGINE_FAILED if fault is None else failures.bad_grammar(fault))
            )
        return failed

    def _stop_scoring(self) -> list[TextRequest]:
        """Take out the prompts that are being scored. Returns the guilty; of several, each is tried alone."""
        scorer = self._pipeline.scorer
        if scorer is None or not scorer.busy:
            return []
        requests = scorer.abandon()
        if not requests:  # it was the check, for the first that waits
            return list(self._unscored)[:1]
        if len(requests) == 1:
            return requests
        self._unscored.extendleft(reversed(requests))
        self._suspects = len(requests)
        return []
