"""Bodies of /v1/files and /v1/batches."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from frontend.batches.record import BatchError, BatchRecord, BatchState, FileRecord

MIN_EXPIRY_SECONDS = 3600
MAX_EXPIRY_SECONDS = 2_592_000


class FileBody(msgspec.Struct, kw_only=True):
    id: str
    object: str = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: str = "processed"
    status_details: str | None = None

    @classmethod
    def of(cls, file: FileRecord) -> "FileBody":
        return cls(
            id=file.id,
            bytes=file.size,
            created_at=file.created_at,
            expires_at=file.expires_at,
            filename=file.name,
            purpose=file.purpose,
        )


class FileList(msgspec.Struct):
    data: list[FileBody]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: str = "list"


class DeletedFile(msgspec.Struct):
    id: str
    object: str = "file"
    deleted: bool = True


Purpose = Literal["assistants", "batch", "evals", "fine-tune", "user_data", "vision"]


class ExpiresAfter(msgspec.Struct):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=MIN_EXPIRY_SECONDS, le=MAX_EXPIRY_SECONDS)]


class FileForm(msgspec.Struct):
    """The fields of an upload, besides the file."""

    purpose: Purpose
    expires_after: ExpiresAfter | None = None  # as `expires_after[anchor]` and `expires_after[seconds]`


class BatchRequest(msgspec.Struct, kw_only=True):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: (
        Annotated[
            dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
            Meta(max_length=16),
        ]
        | None
    ) = None
    output_expires_after: ExpiresAfter | None = None


class BatchErrors(msgspec.Struct):
    data: tuple[BatchError, ...]
    object: str = "list"


class RequestCounts(msgspec.Struct):
    total: int
    completed: int
    failed: int


class BatchInputDetails(msgspec.Struct):
    cached_tokens: int


class BatchOutputDetails(msgspec.Struct):
    reasoning_tokens: int


class BatchUsage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: BatchInputDetails
    output_tokens: int
    output_tokens_details: BatchOutputDetails
    total_tokens: int


class BatchBody(msgspec.Struct, kw_only=True):
    id: str
    object: str = "batch"
    endpoint: str
    model: str | None
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: BatchState
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, batch: BatchRecord) -> "BatchBody":
        used = batch.usage
        shared = {
            name: getattr(batch, name)
            for name in cls.__struct_fields__
            if name in BatchRecord.__struct_fields__ and name not in ("errors", "usage")
        }
        return cls(
            **shared,
            status=batch.state,
            errors=BatchErrors(batch.errors) if batch.errors else None,
            request_counts=RequestCounts(batch.total, batch.completed, batch.failed),
            usage=BatchUsage(
                used.input_tokens,
                BatchInputDetails(used.cached_tokens),
                used.output_tokens,
                BatchOutputDetails(used.reasoning_tokens),
                used.input_tokens + used.output_tokens,
            ),
        )


class BatchList(msgspec.Struct):
    data: list[BatchBody]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: str = "list"


class UploadForm(msgspec.Struct, kw_only=True):
    """The fields of an upload's form besides `file`, for the description of the API."""

    purpose: str
    anchor: str | UnsetType = msgspec.field(name="expires_after[anchor]", default=UNSET)
    seconds: int | UnsetType = msgspec.field(name="expires_after[seconds]", default=UNSET)
