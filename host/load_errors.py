"""Why a model could not be loaded: one line with the cause and a remedy, and whether another try may help."""

import errno
import re
from pathlib import Path
from typing import Any, NamedTuple

from host.engines.base import EngineLost, RequestRefused
from host.errors import LaunchError
from host.native_errors import is_short_of_memory, is_wedged, may_pass, summary
from ipc.errors import ErrorCode
from ipc.ir import newer_writer
from ipc.messages import Launch
from ipc.model_files import FileFault

_PASSING_ERRNOS = {
    *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EMFILE, errno.ENFILE),
    *(errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT, errno.ETXTBSY),
}
_UNKNOWN_PROPERTY = re.compile(r"Unsupported property (\S+) by (\S+) plugin")
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?", re.IGNORECASE)
_EXPLANATIONS = {  # OpenVINO's words → the cause and a remedy
    "cache blocks require more memory than available": "the KV cache needs more memory than is free; "
    "lower --kv-cache-gib",
    "Tokenizers for draft and main models are different": "the draft model has another tokenizer; set "
    "--draft-model to a smaller model of the same family",
    "Model is supposed to be stateful": "its model cannot keep a KV cache; export it with "
    "optimum-cli export openvino --task text-generation-with-past",
}


class Failure(NamedTuple):
    """`reason` is one line for the operator. A `permanent` failure would repeat itself at the next try."""

    reason: str
    permanent: bool


class LoadFailed(Exception):
    """Carries what the frontend is told."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def explain(error: BaseException, launch: Launch[Any]) -> Failure:
    """What failed. All but shortages and busy devices is permanent: files and settings stay as they are."""
    if isinstance(error, FileFault | LaunchError):
        return Failure(str(error), not _has_passing_cause(error))
    if isinstance(error, MemoryError) or is_short_of_memory(error):
        return Failure(f"too little memory ({summary(error)}); free some, or lower --kv-cache-gib", False)
    if may_pass(error) or is_wedged(error) or isinstance(error, EngineLost):
        return Failure(summary(error), permanent=False)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror or error}", not _has_passing_cause(error))
    if isinstance(error, RequestRefused):
        remedy = "; raise --kv-cache-gib" if error.error.code is ErrorCode.KV_CACHE_EXCEEDED else ""
        return Failure(f"it cannot process a first, short request: {error}{remedy}", permanent=True)
    return Failure(_explain_native(error, launch), permanent=True)


def _has_passing_cause(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError):
            return error.errno in _PASSING_ERRNOS
        error = error.__cause__
    return False


def _explain_native(error: BaseException, launch: Launch[Any]) -> str:
    text = summary(error)
    if unknown := _UNKNOWN_PROPERTY.search(text):
        return f"the plugin {unknown[2]} has no property {unknown[1]}; remove --property {unknown[1]}"
    for words, explanation in _EXPLANATIONS.items():
        if words in text:
            return explanation
    if "[json.exception" in text:
        return f"generation_config.json or another JSON file in {launch.path} has a wrong value: {text}"
    named = _named_properties(text, launch.properties)
    remedy = f"change --property {named[0]}" if named else "--log-level debug shows more"
    if newer := newer_writer(Path(launch.path)):
        remedy = f"it was written by OpenVINO {newer}: update openvino, or convert the model for this version"
    return f"{text.rstrip('.')}; {remedy}"


def _named_properties(text: str, properties: dict[str, str]) -> list[str]:
    """The properties that a message names, then those whose value it cites.

    A value may be any word or number, so it counts only where the message marks it as one.
    """
    named = [name for name in properties if re.search(rf"\b{re.escape(name)}\b", text)]
    return named + [name for name, value in properties.items() if _cites(text, value)]


def _cites(text: str, value: str) -> bool:
    if not value.strip() or _NUMBER.fullmatch(value.strip()):
        return False
    cited = re.escape(value)
    return bool(re.search(rf"(['\"`]){cited}\1|\b(?:value|str)\b[:=]? ?['\"`]?{cited}(?!\w)", text))
