"""A host under test: a real process, its channel, its arenas, and what it has said so far."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq

from ipc.arena import ArenaConsumer, ArenaProducer, Lease
from ipc.channel import bind, pack_launch
from ipc.errors import RequestError
from ipc.memfd import create_sealed
from ipc.messages import (
    Accepted,
    Cancel,
    ChatMessage,
    ChatPrompt,
    Delta,
    Detokenize,
    Detokenized,
    Drain,
    Failed,
    Fatal,
    Gauges,
    Generate,
    Launch,
    Payload,
    Produced,
    Prompt,
    PromptScored,
    Ready,
    Release,
    Reply,
    Sampling,
    TextInput,
    TextOptions,
    TextPrompt,
    ToFrontend,
    Tokenize,
    Tokenized,
    Work,
)
from ipc.progress import PAGE_BYTES, ProgressReader
from tests.exact import EXACT

DEADLINE = 120.0  # seconds that anything may take on a loaded machine

M = TypeVar("M", bound=ToFrontend)
A = TypeVar("A", bound=Reply | Failed)


def launch_of(path: Path | str, **changes: Any) -> Launch[Any]:
    """A launch spec with small, exact settings; `changes` replace fields of it and of its options."""
    launch: Launch[Any] = Launch(
        frontend_pid=os.getpid(),
        endpoint="",
        model="under-test",
        path=str(path),
        engine="text",
        device="CPU",
        properties=EXACT,
        threads=1,  # files of tests run side by side: more threads wait for each other
        cpus=[],
        load_seconds=60.0,
        stall_seconds=30.0,
        faults=True,
        options=changes.pop("options", TextOptions(kv_cache_bytes=512 * 1024 * 1024)),
    )
    own = {name: changes.pop(name) for name in list(changes) if name in Launch.__struct_fields__}
    options = msgspec.structs.replace(launch.options, **changes)
    return msgspec.structs.replace(launch, options=options, **own)


def copy_of(folder: Path, to: Path) -> Path:
    """Links to the weights, copies of what a test may change."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).symlink_to(file) if file.suffix in (".bin", ".xml") else shutil.copy(file, to)
    return to


class Outcome(msgspec.Struct):
    """What came back for one request."""

    text: str = ""
    token_ids: list[int] = []
    shown: list[int] = []  # characters of text that were out after each token
    logprobs: list[float] = []
    token_bytes: list[bytes] = []
    prompt_tokens: int | None = None
    prompt_tail: str = ""
    prompt_token_ids: list[int] = []
    prompt_logprobs: list[float] = []
    prompt_bytes: bytes = b""
    finish_reason: str | None = None
    stop: str | int | None = None
    cached_tokens: int = 0
    error: Any = None

    @property
    def ended(self) -> bool:
        return self.finish_reason is not None or self.error is not None


class HostUnderTest:
    """Spawns the host and plays the frontend."""

    def __init__(self, launch: Launch[Any], result_bytes: int = 16 * 1024 * 1024) -> None:
        """`result_bytes`: the size of the result arena."""
        self.withholds_releases = False  # of results, as a frontend does that is slow to read them
        self._folder = tempfile.TemporaryDirectory(prefix="host-test-")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        path = f"{self._folder.name}/s"
        self.channel = bind(self._context, path)
        self.arena = ArenaProducer("requests", 16 * 1024 * 1024)
        results = create_sealed("results", result_bytes)
        self.results = ArenaConsumer(results)
        page = create_sealed("progress", PAGE_BYTES)
        self.progress = ProgressReader(page)
        control_read, self.control = os.pipe()
        message = pack_launch(msgspec.structs.replace(launch, endpoint=f"ipc://{path}"))
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "host",
                *map(str, fds := (control_read, message, self.arena.fd, results, page)),
            ],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for fd in (control_read, message, results, page):
            os.close(fd)
        self._stderr: list[bytes] = []
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        self.withheld: list[Release] = []
        self.received: list[ToFrontend] = []
        self.outcomes: dict[int, Outcome] = {}
        self._next_id = 0

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._stderr.append(line)

    @property
    def stderr(self) -> str:
        return b"".join(self._stderr).decode(errors="replace")

    def ask(self, prompt: Prompt | str | Lease) -> Tokenized:
        """The answer to a Tokenize; it must not fail."""
        self._next_id += 1
        self.channel.send([Tokenize(self._next_id, payload_of(prompt))])
        return self.answer(Tokenized, self._next_id)

    def refusal(self, prompt: Prompt | Lease) -> RequestError:
        """The refusal of a Tokenize."""
        self._next_id += 1
        self.outcomes[self._next_id] = Outcome()
        self.channel.send([Tokenize(self._next_id, payload_of(prompt))])
        return self.answer(Failed, self._next_id).error

    def text_of(self, token_ids: list[int], skip_special_tokens: bool = False) -> str:
        self._next_id += 1
        body = msgspec.msgpack.encode(token_ids)
        self.channel.send([Detokenize(self._next_id, body, skip_special_tokens)])
        return self.answer(Detokenized, self._next_id).text

    def send(self, work: Work) -> int:
        """Send work under an id of its own, which is returned."""
        self._next_id += 1
        self.outcomes[self._next_id] = Outcome()
        self.channel.send([msgspec.structs.replace(work, request_id=self._next_id)])
        return self._next_id

    def answer(self, kind: type[A], request_id: int) -> A:
        def given() -> list[A]:
            return [m for m in self.received if isinstance(m, kind) and m.request_id == request_id]

        self.wait(given)
        return given()[0]

    # --- talking ----------------------------------------------------------------------------------

    def start(self, prompt: Prompt | str | Lease, resume: Sequence[int] = (), **sampling: Any) -> int:
        """Send a Generate and return its id. Plain text is a text prompt."""
        self.pump(0)  # the gauges of what ran before are not this request's
        self._next_id += 1
        self.outcomes[self._next_id] = Outcome()
        payload = input_of(prompt, sampling.pop("grammar", ""))
        scored = sampling.pop("score_prompt", False)
        work = Generate(self._next_id, payload, Sampling(**sampling), list(resume), True, scored)
        self.channel.send([work])
        return self._next_id

    def run(self, prompt: Prompt | str | Lease, resume: Sequence[int] = (), **sampling: Any) -> Outcome:
        return self.finish(self.start(prompt, resume, **sampling))[0]

    def finish(self, *request_ids: int) -> list[Outcome]:
        """Wait until all of them have ended."""
        self.wait(lambda: all(self.outcomes[request_id].ended for request_id in request_ids))
        return [self.outcomes[request_id] for request_id in request_ids]

    def share(self, prompt: Prompt | TextInput) -> Lease:
        body = msgspec.msgpack.encode(prompt)
        lease = self.arena.lease(len(body))
        assert lease is not None
        self.arena.write(lease, body)
        return lease

    def release_withheld(self) -> None:
        self.channel.send(self.withheld)
        self.withheld = []

    def cancel(self, request_id: int) -> None:
        self.channel.send([Cancel(request_id)])

    def drain(self) -> None:
        self.channel.send([Drain()])

    # --- listening --------------------------------------------------------------------------------

    def pump(self, seconds: float = 0.05) -> None:
        """Take in what has come, waiting for at most `seconds` if there is nothing."""
        self.channel.wait(seconds)
        while messages := self.channel.receive():
            for message in messages:
                self.received.append(message)
                self._book(message)

    def _book(self, message: ToFrontend) -> None:
        match message:
            case Accepted():
                outcome = self.outcomes[message.request_id]
                outcome.prompt_tokens = message.prompt_tokens
                outcome.prompt_tail = message.prompt_tail
                outcome.prompt_token_ids = message.prompt_token_ids
            case PromptScored():
                outcome = self.outcomes[message.request_id]
                assert not (outcome.prompt_logprobs or outcome.token_ids), "before any token, and once"
                outcome.prompt_logprobs = message.logprobs
                outcome.prompt_bytes = b"".join(message.token_bytes)
            case Delta():
                self._book_delta(self.outcomes[message.request_id], message)
            case Produced(payload=Lease() as lease):
                message.payload = self.results.copy(lease)
                release = Release(lease.slot, lease.generation)
                if self.withholds_releases:
                    self.withheld.append(release)
                else:
                    self.channel.send([release])
            case Failed():
                self.outcomes[message.request_id].error = message.error
            case Release():
                self.arena.release(message.slot, message.generation)
            case Ready() | Gauges() | Fatal() | Reply():
                pass

    @staticmethod
    def _book_delta(outcome: Outcome, message: Delta) -> None:
        assert not outcome.ended, "a delta after the end"
        outcome.text += message.text
        outcome.token_ids += message.token_ids
        outcome.logprobs += message.logprobs
        outcome.token_bytes += message.token_bytes
        outcome.shown += [len(outcome.text)] * len(message.token_ids)
        outcome.cached_tokens += message.cached_tokens
        if message.finish is not None:
            outcome.finish_reason, outcome.stop = message.finish.reason, message.finish.stop
            if message.finish.prompt_tokens is not None:
                outcome.prompt_tokens = message.finish.prompt_tokens

    def wait(self, condition: Any, deadline: float = DEADLINE) -> None:
        """Pump until `condition()`; fails past the deadline or when the host died first."""
        end = time.monotonic() + deadline
        while not condition():
            dead = self.process.poll() is not None
            self.pump()
            if condition():
                return
            if dead:
                fatal = [message.reason for message in self.received if isinstance(message, Fatal)]
                raise AssertionError(f"the host died with {self.process.returncode}: {fatal}\n{self.stderr}")
            assert time.monotonic() < end, f"waited {deadline} s in vain:\n{self.stderr}"

    def first(self, kind: type[M]) -> M:
        """The first message of a kind, waiting for it."""
        self.wait(lambda: any(isinstance(message, kind) for message in self.received))
        return next(message for message in self.received if isinstance(message, kind))

    @property
    def gauges(self) -> Gauges | None:
        return next((m for m in reversed(self.received) if isinstance(m, Gauges)), None)

    def wait_exit(self, deadline: float = DEADLINE) -> int:
        """Pump until the host has ended, take in its last words, and return its status."""
        end = time.monotonic() + deadline
        while self.process.poll() is None:
            assert time.monotonic() < end, "the host does not exit"
            self.pump()
        self._reader.join(timeout=5)
        self.pump(0)
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join(timeout=5)
        if self.process.stderr is not None:
            self.process.stderr.close()
        if self.control >= 0:
            os.close(self.control)
        self.channel.close()
        self._context.term()
        self.arena.close()
        self.results.close()
        self._folder.cleanup()


@contextlib.contextmanager
def host_running(launch: Launch[Any], **arena: int) -> Iterator[HostUnderTest]:
    """A host that has said Ready, killed at the end."""
    host = HostUnderTest(launch, **arena)
    try:
        host.first(Ready)
        yield host
    finally:
        host.close()


def input_of(prompt: Prompt | str | Lease, grammar: str = "") -> Payload:
    """What Generate carries. Plain text is a text prompt; a lease holds an input already."""
    if isinstance(prompt, Lease):
        return prompt
    return msgspec.msgpack.encode(
        TextInput(TextPrompt(prompt) if isinstance(prompt, str) else prompt, grammar)
    )


def payload_of(prompt: Prompt | str | Lease) -> Payload:
    """A prompt as it crosses. Plain text is a text prompt; a lease holds one already."""
    if isinstance(prompt, Lease):
        return prompt
    return msgspec.msgpack.encode(TextPrompt(prompt) if isinstance(prompt, str) else prompt)


def chat(*contents: str) -> ChatPrompt:
    """User messages."""
    return ChatPrompt([ChatMessage("user", content) for content in contents])
