"""Bodies of answers of Ollama's chat and generate: parts of streams, and whole answers."""

import msgspec
from msgspec import UNSET, UnsetType

from frontend.api.ollama.durations import Statistics


class Called(msgspec.Struct):
    index: int
    name: str
    arguments: msgspec.Raw  # a JSON object


class Call(msgspec.Struct):
    id: str
    function: Called


class TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: UnsetType = UNSET


class Message(msgspec.Struct, kw_only=True):
    role: str = "assistant"
    content: str = ""
    thinking: str | UnsetType = UNSET
    tool_calls: list[Call] | UnsetType = UNSET


class Reply(msgspec.Struct, kw_only=True):
    """An object of an answer: of chat with a message, of generate with the fields below it.

    The last one also has the fields of Statistics.
    """

    model: str
    created_at: str
    message: Message | UnsetType = UNSET
    response: str | UnsetType = UNSET
    thinking: str | UnsetType = UNSET
    tool_calls: list[Call] | UnsetType = UNSET
    done: bool = False
    done_reason: str | UnsetType = UNSET
    logprobs: list[TokenLogprob] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET

    def end(self, reason: str, statistics: Statistics | None = None) -> None:
        """Make it the last one, or the only one."""
        self.done, self.done_reason = True, reason
        if statistics is not None:
            for name, value in msgspec.structs.asdict(statistics).items():
                setattr(self, name, value)
