"""The states of a batch, as a pure function.

    validating ──Validated──▶ in_progress ──Answered──▶ finalizing ──Filed──▶ completed
        │                         │
        ├──Rejected──▶ failed     ├──Filed(expired)──▶ expired
        │                         │
        └──CancelAsked────────────┴──▶ cancelling ──Filed──▶ cancelled

`Filed` reports that the files of the answers are complete. Once all lines are answered, nothing can be
cancelled any more. `Lost` ends what still has lines to be made: as failed, or as cancelled if that was asked.
"""

import msgspec

from frontend.batches.record import BatchError, BatchRecord, BatchState

S = BatchState


class Validated(msgspec.Struct, frozen=True):
    """The input is valid: so many lines, which name this model, if all name the same."""

    total: int
    model: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    errors: tuple[BatchError, ...]


class Answered(msgspec.Struct, frozen=True):
    """Each line has its answer or its error."""


class CancelAsked(msgspec.Struct, frozen=True):
    """By its owner; or by the server, which gives its reason."""

    reason: BatchError | None = None


class Filed(msgspec.Struct, frozen=True):
    """The files are complete. `expired`: the time was over before all lines were answered."""

    expired: bool = False


class Lost(msgspec.Struct, frozen=True):
    """The rest of the requests cannot be read any more. The files are complete."""

    error: BatchError


Event = Validated | Rejected | Answered | CancelAsked | Filed | Lost


def advance(batch: BatchRecord, event: Event, now: int) -> BatchRecord:
    """The batch after the event; the same one where the event means nothing to it. `now` in Unix seconds."""
    match batch.state, event:
        case S.VALIDATING, Validated(total, model):
            return _moved(batch, state=S.IN_PROGRESS, total=total, model=model, in_progress_at=now)
        case S.VALIDATING, Rejected(errors):
            return _moved(batch, state=S.FAILED, errors=errors, failed_at=now)
        case S.IN_PROGRESS, Answered():
            return _moved(batch, state=S.FINALIZING, finalizing_at=now)
        case ((S.VALIDATING | S.IN_PROGRESS), CancelAsked(reason)):
            errors = batch.errors if reason is None else (*batch.errors, reason)
            return _moved(batch, state=S.CANCELLING, errors=errors, cancelling_at=now)
        case S.FINALIZING, Filed():
            return _filed(batch, state=S.COMPLETED, completed_at=now)
        case S.CANCELLING, Filed():
            return _filed(batch, state=S.CANCELLED, cancelled_at=now)
        case ((S.VALIDATING | S.IN_PROGRESS), Lost(error)):
            return _filed(batch, state=S.FAILED, errors=(*batch.errors, error), failed_at=now)
        case S.CANCELLING, Lost(error):
            return _filed(batch, state=S.CANCELLED, errors=(*batch.errors, error), cancelled_at=now)
        case S.IN_PROGRESS, Filed(expired=True):
            return _filed(batch, state=S.EXPIRED, expired_at=now)
    return batch


def reopened(batch: BatchRecord) -> BatchRecord:
    """The batch with all that is to be done of it, after answers were lost that it had."""
    if batch.state is S.FINALIZING and batch.completed + batch.failed < batch.total:
        return _moved(batch, state=S.IN_PROGRESS, finalizing_at=None)
    return batch


def _moved(batch: BatchRecord, **changes: object) -> BatchRecord:
    return msgspec.structs.replace(batch, **changes)


def _filed(batch: BatchRecord, **changes: object) -> BatchRecord:
    """Clients see the files that are not empty."""
    return _moved(
        batch,
        output_file_id=batch.output_id if batch.output_bytes else None,
        error_file_id=batch.error_id if batch.error_bytes else None,
        **changes,
    )
