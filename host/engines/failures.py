"""What clients are told when the pipeline fails or refuses a request. The operator's words go to stderr."""

import sys

from host.engines.base import RequestRefused, invalid
from host.native_errors import refused_parameter
from ipc.errors import ErrorCode, RequestError

ENGINE_FAILED = RequestError(ErrorCode.ENGINE_FAILED, "the engine failed on this request")
NOT_REPRODUCIBLE = RequestError(
    ErrorCode.ENGINE_FAILED, "the engine failed on another request, and this one could not be continued"
)
OUT_OF_KV_CACHE = RequestError(ErrorCode.KV_CACHE_EXCEEDED, "the KV cache has no room left for this request")

NOT_SCORED = RequestError(
    ErrorCode.INVALID_VALUE,
    "echo: this device does not compute log probabilities of a prompt beside its prefix cache; "
    "start the model with --no-prefix-caching",
    "echo",
)
NO_SCORES = "this model's engine does not compute them"


def prompt_not_scored(reason: str) -> RequestRefused:
    return invalid(f"echo: log probabilities of the prompt are not available: {reason}", "echo")


def bad_grammar(fault: str) -> RequestError:
    return RequestError(
        ErrorCode.INVALID_VALUE, f"the engine cannot compile this grammar: {fault}", "response_format"
    )


def refusal(error: RuntimeError) -> RequestError:
    """The pipeline's own checks come after ours; what they say holds source paths."""
    param = refused_parameter(error)
    print(f"the pipeline refuses a request: {error}", file=sys.stderr, flush=True)
    if param is None:
        return ENGINE_FAILED
    return RequestError(ErrorCode.INVALID_VALUE, f"the engine refuses this value of {param}", param)
