"""How to read what OpenVINO raises: clean first lines for people, and the errors that wedge a device."""

import re

_LOCATION = re.compile(r"^(Exception from |Check '.*' failed at |\[\d\d:\d\d:\d\d\] )")
_INNER_LOCATION = re.compile(r"\s*\bException from \S+:\d+:?")  # at the end of a line, before the next one
_WEDGED = re.compile(
    r"CL_OUT_OF_RESOURCES|CL_DEVICE_NOT_AVAILABLE|CL_INVALID_COMMAND_QUEUE"
    r"|ZE_RESULT_ERROR_DEVICE_LOST|ZE_RESULT_ERROR_UNKNOWN|ZE_RESULT_ERROR_OUT_OF_DEVICE_MEMORY"
)
_SHORT_OF_MEMORY = re.compile(
    r"bad_alloc|annot allocate memory|ailed to allocate|can't alloc"
    r"|OUT_OF_(HOST|DEVICE)_MEMORY|CL_MEM_OBJECT_ALLOCATION_FAILURE"
)
_MAY_PASS = re.compile(
    r"Device or resource busy|Resource temporarily unavailable|Too many open files|Interrupted system call"
    r"|CL_DEVICE_NOT_FOUND|ZE_RESULT_NOT_READY|ZE_RESULT_ERROR_HANDLE_OBJECT_IN_USE"
    r"|ZE_RESULT_ERROR_DEVICE_(REQUIRES_RESET|IN_LOW_POWER_STATE)"
)

_CLIENT_CHARACTERS = 200  # of a compiler's words
_PARAMETERS = {  # GenAI's names, some of them only in its messages → the API's
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "rng_seed": "seed",
}


def is_wedged(error: BaseException) -> bool:
    """True for an error after which the device answers nothing until its process ends."""
    return _WEDGED.search(str(error)) is not None


def is_short_of_memory(error: BaseException) -> bool:
    """True for an error of an allocation, in the machine's memory or the device's."""
    return _SHORT_OF_MEMORY.search(str(error)) is not None


def may_pass(error: BaseException) -> bool:
    """True for an error of a device or resource that others use at the moment."""
    return _MAY_PASS.search(str(error)) is not None


def grammar_fault(error: BaseException) -> str | None:
    """What the grammar's compiler says if the error is one of its own, for the client, else None."""
    text = str(error)
    if "xgrammar" not in text:
        return None
    said = re.findall(r"\.(?:cc|cpp|h):\d+:\s*(.+)", text)
    return said[-1].strip()[:_CLIENT_CHARACTERS] if said else "it does not compile"


def refused_parameter(error: BaseException) -> str | None:
    """The API's name of the sampling parameter that GenAI found invalid, else None."""
    check = re.match(r"Check '(.*)' failed at ", str(error))
    names = re.findall(r"[a-z_]+", check[1]) if check else []
    return next((_PARAMETERS[name] for name in names if name in _PARAMETERS), None)


def summary(error: BaseException) -> str:
    """One line for the operator: OpenVINO's own words without the source locations around them."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not _LOCATION.match(line)]
    return _INNER_LOCATION.sub("", (telling or [type(error).__name__])[0])[:300]
