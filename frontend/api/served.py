"""The models that requests name, for the endpoints and for the access log."""

from collections.abc import Sequence

import falcon.asgi

from frontend.api.client import on_leave_of
from frontend.http.exchange import exchange_of, unattended_exchange
from frontend.routing.job import Job
from frontend.routing.lifecycle import Phase
from frontend.routing.names import Resolved
from frontend.routing.router import Model, Router

PREPARING = "preparing"  # nothing was given to the model yet: it may be loading
FINISHING = "finishing"  # the model is done
_FURTHEST = (Phase.RUNNING, Phase.SENT, Phase.SUSPECT, Phase.QUEUED)


async def model_of(
    router: Router, name: str, request: falcon.asgi.Request | None, key: str | None = None
) -> Model:
    """The model once it is loaded, unless the client of `request` leaves before; None: nobody waits.

    `key` is the user or session for whom a name always means the same variant. Raises as `Router.model`.
    """
    exchange = exchange_of(request.scope) if request is not None else unattended_exchange()
    exchange.model = name
    if exchange.variant_key is None:  # what a request asks twice has the same answer
        exchange.variant_key = key if key is not None else router.any_key()

    def note(resolved: Resolved) -> None:
        exchange.answered_by, exchange.variants = resolved.model, resolved.variants

    caller = exchange.caller if request is not None else None  # else whoever asked is not in an exchange
    model = await router.model(name, on_leave_of(request), exchange.variant_key, note, caller)
    jobs: list[Job] = []
    model.on_submit = jobs.extend
    exchange.phase = lambda: phase_of(jobs)
    return model


def phase_of(jobs: Sequence[Job]) -> str:
    """The phase of what a request waits for: that of its job that is furthest."""
    if not jobs:
        return PREPARING
    phases = {job.state.phase for job in jobs}
    return next((phase.value for phase in _FURTHEST if phase in phases), FINISHING)
