"""Prompts that are being answered. Each is cancelled once no client follows it."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import msgspec

from frontend.api.errors import presentable
from frontend.api.schema.inference import COMPLETE, ERROR, InferenceComplete, InferenceError, inference_error
from frontend.caller import Caller
from frontend.errors import BackendFailed, BadRequest, QueueFull
from frontend.http import inside
from frontend.http.asgi import Application
from frontend.sockets.admission import ENDPOINT
from frontend.sockets.answers import AnswerReader, refused
from frontend.sockets.delivery import Delivery, Tokens
from frontend.sockets.rooms import Room, Rooms

MAX_PROMPTS = 16  # of one connection, at a time
MAX_ALL_PROMPTS = 4096


class Prompt(msgspec.Struct, eq=False):
    request_id: str
    session_id: str | None
    client: str  # who asked
    room: Room | None  # who follows it
    body: bytes
    caller: Caller
    task: "asyncio.Task[None] | None" = None
    is_cancelled: bool = False


class Prompts:
    def __init__(self, rooms: Rooms, delivery: Delivery, stack: Callable[[], Application]) -> None:
        """`stack`: what answers requests, with all its layers."""
        self._rooms = rooms
        self._delivery = delivery
        self._stack = stack
        self._running: set[Prompt] = set()

    def check(self, prompt: Prompt) -> None:
        """Whether it may begin. Raises QueueFull or BadRequest."""
        own = [other for other in self._running if other.client == prompt.client]
        if len(own) >= MAX_PROMPTS or len(self._running) >= MAX_ALL_PROMPTS:
            raise QueueFull(
                f"a connection may have {MAX_PROMPTS} prompts at a time; wait for one to end", retry_after=1
            )
        if any(other.request_id == prompt.request_id for other in own):
            raise BadRequest("request_id: a prompt with this id is being answered", "request_id")

    def begin(self, prompt: Prompt) -> None:
        """It has been checked."""
        self._running.add(prompt)
        prompt.task = asyncio.ensure_future(self._answer(prompt))

    @property
    def rooms(self) -> set[Room]:
        """In which something is being answered."""
        return {prompt.room for prompt in self._running if prompt.room is not None}

    def followers(self, prompt: Prompt) -> frozenset[str]:
        return frozenset([prompt.client]) if prompt.room is None else self._rooms.members(prompt.room)

    def cancel(self, client: str, request_id: str | None, session_id: str | None) -> int:
        """Cancel prompts that a client follows: the one with this id, those of a session, or by default all
        that it sent. Returns how many."""
        found = [
            prompt
            for prompt in self._running
            if client in self.followers(prompt)
            and request_id in (None, prompt.request_id)
            and session_id in (None, prompt.session_id)
            and (request_id or session_id or prompt.client == client)
        ]
        for prompt in found:
            _cancel(prompt)
        return len(found)

    def gone(self, client: str) -> None:
        """Cancel what nobody follows now that the client has disconnected."""
        for prompt in list(self._running):
            if prompt.room is None and prompt.client == client:
                _cancel(prompt)
        self.cancel_unfollowed()

    def cancel_unfollowed(self) -> None:
        """Cancel what nobody follows now that a client has left rooms."""
        for prompt in list(self._running):
            if not self.followers(prompt):
                _cancel(prompt)

    async def settled(self) -> None:
        """Wait until all have ended."""
        while tasks := [prompt.task for prompt in self._running if prompt.task is not None]:
            await asyncio.wait(tasks)

    async def _answer(self, prompt: Prompt) -> None:
        tokens = Tokens(self._delivery)
        try:
            said = await self._asked(prompt, tokens)
        except asyncio.CancelledError:
            if not prompt.is_cancelled:
                raise
            said = _cancelled(prompt)
        except (msgspec.DecodeError, UnicodeDecodeError):
            broken = BackendFailed("the answer is not a stream of a chat completion")
            said = inference_error(broken, prompt.request_id, prompt.session_id)
        except Exception as error:
            shown = presentable(error, "a prompt over Socket.IO")
            said = inference_error(shown, prompt.request_id, prompt.session_id)
        finally:
            self._running.discard(prompt)
        followers = self.followers(prompt)
        await tokens.flush(followers)
        name = COMPLETE if isinstance(said, InferenceComplete) else ERROR
        await self._delivery.send(name, said, followers)

    async def _asked(self, prompt: Prompt, tokens: Tokens) -> InferenceComplete | InferenceError:
        headers = [(b"x-request-id", prompt.request_id.encode())]
        messages = inside.stream(self._stack(), prompt.caller, ENDPOINT, prompt.body, headers=headers)
        reader = AnswerReader(prompt.request_id, prompt.session_id)
        async with aclosing(messages):
            start = await anext(messages)
            if start["status"] != 200:
                body = b"".join([message["body"] async for message in messages])
                answer = inside.Answer(start["status"], list(start["headers"]), body)
                return refused(answer, prompt.request_id, prompt.session_id)
            async for message in messages:
                for token in reader.read(message["body"]):
                    await tokens.add(token, self.followers(prompt))
        return reader.end()


def _cancel(prompt: Prompt) -> None:
    if prompt.task is not None and not prompt.is_cancelled:
        prompt.is_cancelled = True
        prompt.task.cancel()


def _cancelled(prompt: Prompt) -> InferenceError:
    return InferenceError(
        error="the prompt was cancelled",
        code="cancelled",
        type="invalid_request_error",
        request_id=prompt.request_id,
        session_id=prompt.session_id,
    )
