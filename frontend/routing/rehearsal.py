"""Prefills again what a host's cache has lost with its process, while nobody else has work for it.

After a load or a restart the prompts that were used lately are computed once more, each by a job of one
token, so that the next request that begins like one of them finds its prefix in the cache. Whatever a client
asks for comes first: it ends such a job at once.
"""

from collections.abc import Callable

from frontend.observability.metrics import ModelMetrics
from frontend.routing.job import Job
from frontend.routing.jobs import Jobs
from frontend.routing.lifecycle import Dropped, Submitted
from frontend.routing.prefixes import BLOCK_CHARACTERS
from frontend.routing.queue import CallLater
from frontend.routing.replica import Replica

_KEPT = 4  # prompts of a model
_MIN_BYTES = 2 * BLOCK_CHARACTERS  # a shorter prompt is computed in no time
_MAX_BYTES = 256 * 1024
_QUIET_SECONDS = 0.2  # without work, before the first one and between two


class _Prompt:
    """A prompt that was used lately, and how to compute it again."""

    def __init__(self, blocks: list[int], again: Callable[[float], Job]) -> None:
        self.blocks = blocks  # hashes of its beginning, see prefixes.py
        self.again = again
        self.uses = 1


class Rehearsals:
    """Those of one model."""

    def __init__(
        self, jobs: Jobs, metrics: ModelMetrics, clock: Callable[[], float], call_later: CallLater
    ) -> None:
        self._jobs = jobs
        self._metrics = metrics
        self._clock = clock
        self._call_later = call_later
        self._prompts: list[_Prompt] = []  # the one used last comes last
        self._todo: dict[Replica, list[_Prompt]] = {}
        self._running: dict[Job, tuple[Replica, _Prompt]] = {}
        self._is_due = False

    def remember(self, job: Job) -> None:
        """A client's job was submitted."""
        if not _MIN_BYTES <= len(job.body) <= _MAX_BYTES or (again := job.rehearsal()) is None:
            return
        blocks = job.prefix
        prompt = _Prompt(blocks, again)
        for known in self._prompts:
            if blocks[: len(known.blocks) - 1] == known.blocks[:-1]:  # it continues that one
                self._prompts.remove(known)
                prompt.uses += known.uses
                break
        self._prompts.append(prompt)
        if len(self._prompts) > _KEPT:
            self._prompts.remove(min(self._prompts[:-1], key=lambda each: each.uses))

    def ready(self, replica: Replica) -> None:
        """Its cache is empty: it has just been loaded. The most used comes first."""
        self._todo[replica] = sorted(self._prompts, key=lambda each: each.uses)

    def pump(self) -> None:
        """Go on soon, if there is anything to do."""
        for job in [job for job in self._running if job.ended]:
            del self._running[job]
            self._metrics.rehearsed.inc()
        if self._todo and not self._is_due and not self._running:
            self._is_due = True
            self._call_later(_QUIET_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._is_due = False
        if self._jobs.queue or self._jobs.quarantine.waiting:
            return
        for replica, prompts in list(self._todo.items()):
            if not replica.host.ready or not prompts:
                del self._todo[replica]
            elif not replica.jobs:
                self._begin(replica, prompts.pop())
                return

    def _begin(self, replica: Replica, prompt: _Prompt) -> None:
        if prompt not in self._prompts:  # a later one took its place, or it was there when a host died
            self.pump()
            return
        job = prompt.again(self._clock())
        self._running[job] = (replica, prompt)
        self._jobs.apply(job, Submitted())
        if not self._jobs.queue.send(job, replica):
            self._jobs.apply(job, Dropped())
            del self._running[job]

    def give_way(self) -> None:
        """A client has work: what runs ends now, and is tried again later."""
        for job, (replica, prompt) in list(self._running.items()):
            self._jobs.apply(job, Dropped())
            self._todo.setdefault(replica, []).append(prompt)
        self._running.clear()

    def stop(self) -> None:
        """The hosts are to leave."""
        self.give_way()
        self._todo.clear()

    def died(self, held: list[Job]) -> list[Job]:
        """Of what a host held when it died, what clients wait for. None of it is rehearsed again: it may be
        what killed the host."""
        fatal = [job.prefix for job in held if not job.is_rehearsal]
        for job in held:
            if job in self._running:
                fatal.append(self._running.pop(job)[1].blocks)
                self._jobs.apply(job, Dropped())
        self._prompts = [prompt for prompt in self._prompts if prompt.blocks not in fatal]
        return [job for job in held if not job.is_rehearsal]
