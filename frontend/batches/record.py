"""What is kept of a batch and of a file."""

from enum import StrEnum

import msgspec

from frontend.caller import Caller
from frontend.usage import TokenUsage

DAY_SECONDS = 86_400
DEFAULT_FILE_SECONDS = 30 * DAY_SECONDS  # for which files of batches are kept, as OpenAI does


class BatchState(StrEnum):
    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


LIVE = frozenset(
    (BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING)
)


class BatchError(msgspec.Struct, frozen=True):
    """Why a batch failed. `line` counts from 1; None: not about a line."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None


class BatchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Times are in Unix seconds."""

    id: str
    caller: Caller  # who made it; its `key_id` owns it
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    output_id: str  # the file of the answers, which clients see once it is complete
    error_id: str
    metadata: dict[str, str] | None = None
    output_seconds: int = DEFAULT_FILE_SECONDS  # for which the files of the answers are kept
    state: BatchState = BatchState.VALIDATING
    model: str | None = None
    errors: tuple[BatchError, ...] = ()
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    total: int = 0  # lines
    completed: int = 0
    failed: int = 0
    output_bytes: int = 0  # written so far
    error_bytes: int = 0
    usage: TokenUsage = TokenUsage()
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def ended_at(self) -> int | None:
        return self.completed_at or self.failed_at or self.expired_at or self.cancelled_at


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    owner: str  # the id of a key; empty: whoever uses none
    name: str
    purpose: str
    size: int  # in bytes
    created_at: int  # Unix seconds
    expires_at: int | None = None


def owner_of(caller: Caller) -> str:
    """The owner of what this caller makes."""
    return caller.key_id or ""
