"""The ways for bytes between two processes that `nacelle bench ipc` compares, seen from the producer.

Each is a context manager that starts a consumer in a process of its own and yields an `Exchange`.
"""

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from queue import Empty

import msgspec
import zmq

from bench.errors import RunFailed
from bench.ipc_child import HEADER_BYTES, Acknowledgement, from_queue
from ipc.arena import ArenaProducer

# One round trip: deliver a payload and wait for its acknowledgement, whose checksum is returned.
Exchange = Callable[[bytes], int]

_DEADLINE_SECONDS = 60
_PIPE_BYTES = 1024 * 1024  # the most that Linux allows without privileges

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Acknowledgement).decode


@contextlib.contextmanager
def arena(largest: int) -> Iterator[Exchange]:
    """A lease per payload: copied into shared memory, announced over ZeroMQ, released when it was read."""
    producer = ArenaProducer("nacelle-bench", largest)
    with (
        contextlib.closing(producer),
        _socket() as (socket, endpoint),
        _child("arena", largest, endpoint, producer.fd, inherited=[producer.fd]) as child,
    ):

        def exchange(payload: bytes) -> int:
            lease = producer.lease(len(payload))
            assert lease is not None, "the arena is empty between round trips"
            producer.write(lease, payload)
            done = _ask(socket, child, _encode(lease))
            producer.release(done.slot, done.generation)
            return done.checksum

        yield exchange


@contextlib.contextmanager
def frames(largest: int) -> Iterator[Exchange]:
    """A ZeroMQ frame per payload over `ipc://`, with pyzmq's own copies avoided on both sides."""
    with _socket() as (socket, endpoint), _child("frames", largest, endpoint) as child:

        def exchange(payload: bytes) -> int:
            return _ask(socket, child, payload).checksum

        yield exchange


@contextlib.contextmanager
def pipe(largest: int) -> Iterator[Exchange]:
    """A length and the bytes in a pipe of 1 MiB; acknowledgements in another pipe."""
    with contextlib.ExitStack() as stack:
        theirs_in, ours_out = _pipe(stack)
        ours_in, theirs_out = _pipe(stack)
        fcntl.fcntl(ours_out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(ours_out, False)
        inherited = [theirs_in, theirs_out]
        child = stack.enter_context(_child("pipe", largest, *inherited, inherited=inherited))

        def exchange(payload: bytes) -> int:
            _write_all(ours_out, payload, child)
            _wait(child.poll, lambda seconds: bool(select.select([ours_in], [], [], seconds)[0]))
            return _decode(os.read(ours_in, 64)).checksum

        yield exchange


@contextlib.contextmanager
def pickled(largest: int) -> Iterator[Exchange]:
    """A multiprocessing queue in each direction. The one place where payloads are pickled: this is what the
    other ways are compared with."""
    spawning = get_context("spawn")
    payloads, acknowledgements = spawning.Queue(), spawning.Queue()
    child = spawning.Process(target=from_queue, args=(payloads, acknowledgements, largest), daemon=True)
    child.start()

    def exchange(payload: bytes) -> int:
        checksums: list[int] = []

        def arrived(seconds: float) -> bool:
            with contextlib.suppress(Empty):
                checksums.append(acknowledgements.get(timeout=seconds))
            return bool(checksums)

        payloads.put(payload)
        _wait(lambda: child.exitcode, arrived)
        return checksums[0]

    try:
        yield exchange
    finally:
        child.kill()
        child.join()
        payloads.cancel_join_thread()  # the feeder may hold what nobody reads any more
        payloads.close()
        acknowledgements.close()


def _wait(exit_status: Callable[[], int | None], ready: Callable[[float], bool]) -> None:
    """Wait for the consumer, whose `exit_status` is looked at each second. Raises RunFailed."""
    for _ in range(_DEADLINE_SECONDS):
        if ready(1.0):
            return
        if (status := exit_status()) is not None:
            raise RunFailed(f"the consumer's process ended with status {status}")
    raise RunFailed(f"the consumer did nothing for {_DEADLINE_SECONDS} s")


def _ask(socket: "zmq.Socket[bytes]", child: "subprocess.Popen[bytes]", frame: bytes) -> Acknowledgement:
    """Send without copying the frame (pyzmq copies small ones, which is faster) and wait for the answer."""

    def ready(event: int) -> None:
        _wait(child.poll, lambda seconds: bool(socket.poll(round(seconds * 1000), event)))

    try:
        socket.send(frame, zmq.NOBLOCK, copy=False)
    except zmq.Again:  # not connected yet, or any more
        ready(zmq.POLLOUT)
        socket.send(frame, zmq.NOBLOCK, copy=False)
    ready(zmq.POLLIN)
    return _decode(socket.recv(zmq.NOBLOCK))


def _write_all(fd: int, payload: bytes, child: "subprocess.Popen[bytes]") -> None:
    parts = [memoryview(len(payload).to_bytes(HEADER_BYTES, "little")), memoryview(payload)]
    while parts:
        try:
            written = os.writev(fd, parts)
        except BlockingIOError:
            _wait(child.poll, lambda seconds: bool(select.select([], [fd], [], seconds)[1]))
            continue
        except BrokenPipeError:
            raise RunFailed("the consumer's process ended") from None
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][written:]


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


@contextlib.contextmanager
def _socket() -> Iterator[tuple["zmq.Socket[bytes]", str]]:
    """A bound socket of the kind that hosts are connected by, and its endpoint."""
    with (
        tempfile.TemporaryDirectory() as folder,
        zmq.Context() as context,
        context.socket(zmq.DEALER) as socket,
    ):
        socket.linger = 0
        endpoint = f"ipc://{folder}/socket"
        socket.bind(endpoint)
        yield socket, endpoint


@contextlib.contextmanager
def _child(
    way: str, *arguments: object, inherited: list[int] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-P", "-m", "bench.ipc_child", way, *map(str, arguments)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=inherited or [])
    try:
        yield child
    finally:
        child.kill()
        child.communicate()  # closes the pipe and waits
