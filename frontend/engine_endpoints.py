"""The endpoints whose requests engines work on, and what else holds for each: the one list of them.

Paths are as `http.paths.canonical` has them.
"""

import msgspec


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    operation: str | None = None  # OpenTelemetry's gen_ai.operation.name
    in_batches: bool = False  # its requests can be made in batches
    passed_on: bool = False  # to servers that are used through their OpenAI API


ENDPOINTS = {
    "/v1/chat/completions": Endpoint(operation="chat", in_batches=True, passed_on=True),
    "/v1/completions": Endpoint(operation="text_completion", in_batches=True, passed_on=True),
    "/v1/embeddings": Endpoint(operation="embeddings", in_batches=True, passed_on=True),
    "/v1/responses": Endpoint(operation="chat", in_batches=True, passed_on=True),
    "/v1/responses/compact": Endpoint(),
    "/v1/rerank": Endpoint(in_batches=True, passed_on=True),
    "/v2/rerank": Endpoint(),
    "/rerank": Endpoint(),
    "/v1/score": Endpoint(),
    "/score": Endpoint(),
    "/v1/messages": Endpoint(operation="chat", in_batches=True, passed_on=True),
    "/v1/audio/speech": Endpoint(passed_on=True),
    "/v1/audio/transcriptions": Endpoint(),
    "/v1/audio/translations": Endpoint(),
    "/v1/realtime": Endpoint(),
    "/v1/inference_sse": Endpoint(),
    "/api/chat": Endpoint(operation="chat"),
    "/api/generate": Endpoint(operation="text_completion"),
    "/api/embed": Endpoint(operation="embeddings"),
    "/api/embeddings": Endpoint(operation="embeddings"),
}
