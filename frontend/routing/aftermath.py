"""After a host's death: carries out what `recovery.py` decides about each sequence it held."""

import logging
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Rows

from frontend.errors import EngineCrashed
from frontend.observability.metrics import ModelMetrics
from frontend.routing.backlog import Backlog
from frontend.routing.generation import Output, Sequence
from frontend.routing.journal import Phase
from frontend.routing.quarantine import Quarantine
from frontend.routing.recovery import (
    Blame,
    Continue,
    Crash,
    GiveUp,
    StartOver,
    Suspicion,
    Verdict,
    after_death,
)
from frontend.routing.refusals import Refusals
from frontend.supervision.death import Death

log = logging.getLogger("nacelle.routing")


class Aftermath:
    """Returns sequences to the backlog or to quarantine, or ends them."""

    def __init__(
        self,
        backlog: Backlog,
        quarantine: Quarantine,
        refusals: Refusals,
        metrics: ModelMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._backlog = backlog
        self._quarantine = quarantine
        self._refusals = refusals
        self._metrics = metrics
        self._clock = clock

    def settle(self, held: Rows[Sequence], death: Death) -> None:
        """Find what becomes of everything that a host held, and say so in one line of the log."""
        crash = Crash(implicates=death.implicates, alone=len(held) == 1)
        outcomes: Counter[str] = Counter()
        for sequence in held:
            if sequence.journal.phase is Phase.ENDED:
                continue  # with a choice of the same generation, just now
            verdict = after_death(sequence.journal, sequence.generation.streaming, sequence.suspicion, crash)
            outcomes[type(verdict).__name__] += 1
            self._carry_out(verdict, sequence, death)
        self._log(death, outcomes)

    def _carry_out(self, verdict: Verdict, sequence: Sequence, death: Death) -> None:
        journal = sequence.journal
        match verdict:
            case Blame():
                self._metrics.blamed.inc()
                self._refusals.add(sequence.spec, death.summary)
                self._end(sequence, death)
            case GiveUp():
                self._end(sequence, death)
            case StartOver(suspicion):
                self._metrics.restarted.inc()
                self._metrics.regenerated_tokens.inc(len(journal.token_ids))
                journal.token_ids = []
                sequence.generation.push(Output(sequence.choice, "", starts_over=True))
                self._send_again(sequence, suspicion)
            case Continue(suspicion, by_replay):
                if by_replay:
                    self._metrics.regenerated_tokens.inc(len(journal.token_ids))
                (self._metrics.resumed if journal.token_ids else self._metrics.restarted).inc()
                self._send_again(sequence, suspicion)

    def _end(self, sequence: Sequence, death: Death) -> None:
        sequence.journal.phase = Phase.ENDED
        sequence.generation.cancel(EngineCrashed(death.message))

    def _send_again(self, sequence: Sequence, suspicion: Suspicion) -> None:
        sequence.suspicion = suspicion
        sequence.journal.deaths += 1
        sequence.journal.died_at = self._clock()
        if suspicion.point is None:
            self._backlog.add(sequence)
        else:
            self._quarantine.admit(sequence)

    def _log(self, death: Death, outcomes: Counter[str]) -> None:
        fields = {
            **death.fields,
            "in_flight": outcomes.total(),
            "continued": outcomes[Continue.__name__],
            "started_over": outcomes[StartOver.__name__],
            "blamed": outcomes[Blame.__name__],
            "given_up": outcomes[GiveUp.__name__],
            "suspects": len(self._quarantine.waiting),
            "queued": len(self._backlog.waiting),
        }
        level = logging.DEBUG if death.expected else logging.WARNING
        log.log(level, "%s", death.summary, extra=fields)
