"""A host outside any server: for a self-test or a measurement. What it does cannot hurt anything else."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any, Self

import msgspec
import zmq

from frontend.supervision.death import signal_name
from frontend.supervision.incarnation import ArenaSizes, Ending, Incarnation
from frontend.supervision.runtime_dir import RuntimeDir, base_folder
from ipc.channel import ChannelError, MessageTooLarge
from ipc.messages import Delta, Failed, Fatal, Launch, ModelCard, Produced, Ready, Reply, ToFrontend, Work

_END_SECONDS = 5.0
_ARENA = 16 * 2**20


class HostFailed(Exception):
    """The host died, hung, or refused a request. The message is one line."""


class Answer(msgspec.Struct):
    """What came back for one request. Times are monotonic seconds."""

    started: float
    first: float = 0.0  # when its first output arrived
    finished: float = 0.0  # 0 while it runs
    token_ids: list[int] = []
    payload: bytes = b""  # of a result with a tensor: f4, row by row


class ThrowawayHost:
    """One host process. As an async context manager, it is loaded at first and killed in the end.

    Start it on the main thread, because hosts die with the thread that spawned them.
    """

    def __init__(self, launch: Launch[Any], load_seconds: float) -> None:
        self._launch = launch
        self._load_seconds = load_seconds
        self._changed = asyncio.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._runtime_dir = RuntimeDir(lambda: base_folder(dict(os.environ)))
        self._host: Incarnation | None = None
        self._running: dict[int, Answer] = {}
        self._last_id = 0
        self._error = ""
        self._ended = False
        self.card: ModelCard | None = None  # from the end of loading on

    async def start(self) -> None:
        """Load the model. Raises HostFailed, and leaves nothing running then."""
        arenas = ArenaSizes(_ARENA, _ARENA)
        try:
            path = self._runtime_dir.socket_path("host")
            self._host = Incarnation(self._launch, path, arenas, self._context, self._take, self._end)
            await self._until(lambda: self.card is not None, self._load_seconds, "it was not ready")
        except (OSError, ChannelError, MessageTooLarge) as error:
            await self.close()
            raise HostFailed(f"the process could not be started: {error}") from error
        except BaseException:
            await self.close()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, works: Sequence[Work], concurrency: int, seconds: float) -> list[Answer]:
        """The answers to all works, in their order, at most `concurrency` of them at once.

        Their request ids are replaced. Raises HostFailed.
        """
        assert self._host is not None
        waiting = list(reversed(works))
        answers: list[Answer] = []

        def pump() -> bool:
            while waiting and len(self._running) < concurrency:
                answers.append(self._send(waiting.pop()))
            return not self._running

        await self._until(pump, seconds, "no answer")
        return answers

    def _send(self, work: Work) -> Answer:
        assert self._host is not None
        self._last_id += 1
        answer = self._running[self._last_id] = Answer(time.monotonic())
        try:
            self._host.send(msgspec.structs.replace(work, request_id=self._last_id))
        except (ChannelError, MessageTooLarge) as error:
            raise HostFailed(str(error)) from error
        return answer

    async def _until(self, done: Any, seconds: float, otherwise: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    if self._error or self._ended:
                        raise HostFailed(self._error)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise HostFailed(f"{otherwise} within {seconds:g} s") from error

    def _take(self, messages: Sequence[ToFrontend]) -> None:
        for message in messages:
            if isinstance(message, Ready):
                self.card = message.card
            elif isinstance(message, Failed):
                self._error = self._error or message.error.message
            elif isinstance(message, Fatal):
                self._error = self._error or message.reason
            elif isinstance(message, Reply):
                self._answered(message)
        self._changed.set()

    def _answered(self, reply: Reply) -> None:
        answer = self._running.get(reply.request_id)
        if answer is None:
            return
        now = time.monotonic()
        if isinstance(reply, Delta):
            answer.token_ids += reply.token_ids
            answer.first = answer.first or now
        elif isinstance(reply, Produced):
            answer.payload = bytes(reply.payload) if isinstance(reply.payload, bytes) else b""
        if reply.ends:
            answer.finished = now
            answer.first = answer.first or now
            del self._running[reply.request_id]

    def _end(self, ending: Ending) -> None:
        self._ended = True
        self._error = self._error or ending.condemned or _last_words(ending)
        self._changed.set()

    async def close(self) -> None:
        """Kill the host and wait until it is gone, at most for a while: a driver may hold it."""
        try:
            if self._host is not None and not self._ended:
                self._host.signal(signal.SIGKILL)
                async with asyncio.timeout(_END_SECONDS):
                    while not self._ended:
                        self._changed.clear()
                        await self._changed.wait()
        except TimeoutError:
            return
        finally:
            self._context.destroy(linger=0)
            self._runtime_dir.remove()


def _last_words(ending: Ending) -> str:
    if ending.status < 0:
        return f"the process died of {signal_name(-ending.status)}"
    return ending.stderr_tail[-1] if ending.stderr_tail else f"the process ended with status {ending.status}"
