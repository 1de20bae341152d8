"""The unit of work: one message to a host, and what is known of it outside the host."""

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from frontend.caller import ANYBODY
from frontend.observability.metrics import ModelMetrics
from frontend.observability.vllm import FinishedReason
from frontend.routing.choice import CHARACTERS_PER_TOKEN, estimated_tokens
from frontend.routing.lifecycle import JobState, Phase
from frontend.routing.recovery import Progress
from frontend.spool import Spool
from ipc.messages import Payload, Reply, Result, Work

_encode = msgspec.msgpack.encode

Body = bytes | Spool  # of a job: what its work's payload is made of


class Job:
    """What every task's jobs have in common. A task with partial results derives its own.

    Times are seconds on the monotonic clock.
    """

    param = "prompt"  # the request's parameter that its payload came from, for errors
    is_rehearsal = False  # nobody waits for it, see rehearsal.py
    needs_slot = True  # takes one of its host's slots; else it is sent at once, and its host cannot stop it

    def __init__(self, work: Work, body: Body, arrived_at: float, max_units: int | None = None) -> None:
        """`work` is sent with a request id of its own each time, and with `body` as its payload. Jobs that
        share a body send it to a host once. `max_units`: of its result, as part of what it costs."""
        self.work = work
        self.body = body
        self.arrived_at = arrived_at
        self.cost = estimated_tokens(len(body), max_units)  # its share of a replica's load, in tokens
        self.state = JobState()  # written by Jobs.apply alone
        self.sent_at: float | None = None  # when it was first sent to a host
        self.deaths_at: list[float] = []  # when hosts that held it died
        self.died_at: float | None = None  # when its host died, until the next progress
        self.waits_for_room: object | None = None  # identifies its present wait for a full arena
        self.request_id: int | None = None  # by which its host knows it, while it has one
        self.caller = ANYBODY  # for whom it is done
        # Called once when it has ended, with the tokens of its input and of its result.
        self.on_end: Callable[[int, int], None] | None = None

    @property
    def ended(self) -> bool:
        return self.state.phase is Phase.ENDED

    # --- what a task may define ---

    @property
    def progress(self) -> Progress:
        return Progress()

    @property
    def expected_tokens(self) -> tuple[int, int | None]:
        """Of its input, as estimated, and at most of its result; None: that is not known. Zeros: it has none
        that limits count."""
        return 0, 0

    @property
    def used_tokens(self) -> tuple[int, int]:
        """Of its input and of its result, as far as they are known."""
        return 0, 0

    @property
    def prefix(self) -> list[int]:
        """Hashes of the leading blocks of its input, by which a host's cache is found; see prefixes.py."""
        return []

    def rehearsal(self) -> "Callable[[float], Job] | None":
        """Makes a job, given the time, that fills a host's cache as this one does; None: there is no cache,
        or this job does not use it."""
        return None

    @property
    def trial_cost(self) -> int:
        """How long a trial takes, compared with others."""
        return len(self.body)

    def message(self, request_id: int, payload: Payload) -> Work:
        """The work as it is sent now, with the progress it has."""
        return msgspec.structs.replace(self.work, request_id=request_id, payload=payload)

    def fingerprint(self) -> bytes:
        """What makes two jobs the same to an engine."""
        return fingerprint(msgspec.structs.replace(self.work, request_id=0, payload=b""), self.body)

    def take(self, reply: Reply, _now: float, _metrics: ModelMetrics, /) -> None:
        """Journal a reply that arrived at a time, and pass it on; the last one ends the job."""
        raise NotImplementedError

    def flush(self) -> None:
        """All replies of one frame were taken."""

    def account(self, unfinished: FinishedReason, metrics: ModelMetrics, /) -> None:
        """It has ended; `unfinished` is the reason if its host has not reported one. Called once."""

    def start_over(self) -> None:
        """What came of it so far is void."""

    def fail(self, error: Exception) -> None:
        """It ends with an error, once; whoever waits for it gets it."""
        raise NotImplementedError


class ResultJob(Job):
    """A job with one result and no partial ones. To forget it, cancel `result` or make it fail."""

    def __init__(
        self, work: Work, body: bytes, arrived_at: float, param: str, *, needs_slot: bool = True
    ) -> None:
        super().__init__(work, body, arrived_at, max_units=0)
        self.param = param
        self.needs_slot = needs_slot
        self._tokens = 0
        self.result: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def take(self, reply: Reply, _now: float, metrics: ModelMetrics) -> None:
        if isinstance(reply, Result):
            self._tokens = reply.prompt_tokens
            metrics.prompt_tokens.inc(reply.prompt_tokens)
        if not self.result.done():
            self.result.set_result(reply)

    @property
    def expected_tokens(self) -> tuple[int, int | None]:
        return len(self.body) // CHARACTERS_PER_TOKEN, 0

    @property
    def used_tokens(self) -> tuple[int, int]:
        return self._tokens, 0

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)


def fingerprint(work: Work, body: Body) -> bytes:
    digest = hashlib.blake2b(_encode(work), digest_size=16)
    digest.update(body.digest if isinstance(body, Spool) else body)
    return digest.digest()
