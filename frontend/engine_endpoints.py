"""The endpoints whose requests engines work on, and what applies to each. There is no other list of them.

Paths are as `http.paths.canonical` has them.
"""

from typing import Literal

import msgspec


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    operation: str | None = None  # OpenTelemetry's gen_ai.operation.name
    in_batches: bool = False  # its requests can be made in batches
    passed_on: bool = False  # to servers that are used through their OpenAI API
    # By the response cache; sampled answers only if they are deterministic.
    cached: Literal["sampled", "computed"] | None = None
    is_retried: bool = False  # a client may attach to its answer again, though it is not cached


ENDPOINTS = {
    "/v1/chat/completions": Endpoint(operation="chat", in_batches=True, passed_on=True, cached="sampled"),
    "/v1/completions": Endpoint(
        operation="text_completion", in_batches=True, passed_on=True, cached="sampled"
    ),
    "/v1/embeddings": Endpoint(operation="embeddings", in_batches=True, passed_on=True, cached="computed"),
    "/v1/responses": Endpoint(operation="chat", in_batches=True, passed_on=True, cached="sampled"),
    "/v1/responses/compact": Endpoint(),
    "/v1/rerank": Endpoint(in_batches=True, passed_on=True, cached="computed"),
    "/v2/rerank": Endpoint(cached="computed"),
    "/rerank": Endpoint(cached="computed"),
    "/v1/score": Endpoint(cached="computed"),
    "/score": Endpoint(cached="computed"),
    "/v1/messages": Endpoint(operation="chat", in_batches=True, passed_on=True, cached="sampled"),
    "/v1/audio/speech": Endpoint(passed_on=True, is_retried=True),
    "/v1/audio/transcriptions": Endpoint(),
    "/v1/audio/translations": Endpoint(),
    "/v1/realtime": Endpoint(),
    "/v1/inference_sse": Endpoint(is_retried=True),
    "/api/chat": Endpoint(operation="chat"),
    "/api/generate": Endpoint(operation="text_completion"),
    "/api/embed": Endpoint(operation="embeddings"),
    "/api/embeddings": Endpoint(operation="embeddings"),
}
