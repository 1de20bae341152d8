"""The consumer of `nacelle bench ipc`: takes payloads by one way, reads every byte, and acknowledges each.

`python -P -m bench.ipc_child WAY …`, one process per way. It ends when its producer does.
"""

import os
import select
import sys
import zlib
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.queues import Queue
from queue import Empty

import msgspec
import zmq

from ipc.arena import ArenaConsumer, Lease

_IDLE_SECONDS = 600  # without a payload; the other ways have their turns meanwhile
_SLICE_SECONDS = 1.0  # between looks at whether the producer still lives, where nothing else tells
HEADER_BYTES = 8  # of a payload in a pipe: its length, little-endian

_decode_lease = msgspec.msgpack.Decoder(Lease).decode
_encode = msgspec.msgpack.Encoder().encode


class Acknowledgement(msgspec.Struct, array_like=True, gc=False):
    """One payload was read. `checksum` is 0 unless it was asked for, with an empty payload."""

    checksum: int
    slot: int = 0  # of the lease that is released
    generation: int = 0


class Reader:
    """Reads payloads as an engine would read its input: one pass over all bytes."""

    def __init__(self, largest: int) -> None:
        self._memory = memoryview(bytearray(largest))
        self._size = 0

    def read(self, payload: bytes | memoryview) -> int:
        """Copy the payload into memory of this process and return 0.

        For an empty payload, return the CRC-32 of the last one.
        """
        if not len(payload):
            return zlib.crc32(self._memory[: self._size])
        self._size = len(payload)
        self._memory[: self._size] = payload
        return 0


def from_arena(endpoint: str, fd: int, reader: Reader) -> None:
    """Leases arrive over ZeroMQ; the bytes are read where they are."""
    arena = ArenaConsumer(fd)

    def answer(frame: zmq.Frame) -> bytes:
        lease = _decode_lease(frame.buffer)
        checksum = reader.read(arena.view(lease))
        return _encode(Acknowledgement(checksum, lease.slot, lease.generation))

    _serve_socket(endpoint, answer)


def from_frames(endpoint: str, reader: Reader) -> None:
    """The bytes arrive in ZeroMQ frames, which are read without a further copy."""
    _serve_socket(endpoint, lambda frame: _encode(Acknowledgement(reader.read(frame.buffer))))


def _serve_socket(endpoint: str, answer: Callable[[zmq.Frame], bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(sys.stdin.fileno(), zmq.POLLIN)  # ends with the producer
        while socket in (ready := dict(poller.poll(_IDLE_SECONDS * 1000))):
            socket.send(answer(socket.recv(copy=False)))
            if sys.stdin.fileno() in ready:
                return


def from_pipe(payloads: int, acknowledgements: int, largest: int, reader: Reader) -> None:
    """The bytes arrive in a pipe, each payload after its length."""
    header = bytearray(HEADER_BYTES)
    memory = memoryview(bytearray(largest))
    while select.select([payloads], [], [], _IDLE_SECONDS)[0]:
        got = os.readv(payloads, [header, memory]) - HEADER_BYTES
        if got < 0:  # the producer closed its end
            return
        size = int.from_bytes(header, "little")
        while got < size:
            if not select.select([payloads], [], [], _IDLE_SECONDS)[0]:
                return
            if not (more := os.readv(payloads, [memory[got:size]])):
                return
            got += more
        os.write(acknowledgements, _encode(Acknowledgement(reader.read(memory[:size]))))


def from_queue(payloads: "Queue[bytes]", acknowledgements: "Queue[int]", largest: int) -> None:
    """The bytes arrive in a multiprocessing queue, which pickles and unpickles them."""
    reader = Reader(largest)
    producer = parent_process()
    assert producer is not None, "multiprocessing started this process"
    while producer.is_alive():
        try:
            acknowledgements.put(reader.read(payloads.get(timeout=_SLICE_SECONDS)))
        except Empty:
            continue


def main(way: str, *arguments: str) -> None:
    """Arguments: the way, the largest payload in bytes, and what that way takes."""
    largest = int(arguments[0])
    reader = Reader(largest)
    if way == "arena":
        from_arena(arguments[1], int(arguments[2]), reader)
    elif way == "frames":
        from_frames(arguments[1], reader)
    else:
        from_pipe(int(arguments[1]), int(arguments[2]), largest, reader)


if __name__ == "__main__":
    main(*sys.argv[1:])
