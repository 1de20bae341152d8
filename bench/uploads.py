"""What large uploads cost the others: `python -m bench.uploads BASE_URL PID`.

Sixteen clients upload 200 MB each at once while another client streams an answer. It prints the longest gap
of that stream, alone and beside the uploads, and the peak of the frontend's memory (PSS). The files are
noise: the server reads them whole before it can refuse them.
"""

import argparse
import asyncio
import multiprocessing
import os
import time
from collections import Counter
from itertools import pairwise
from multiprocessing.synchronize import Event
from urllib.parse import urlsplit

import msgspec

from bench.client import clock
from bench.completions import request_body
from bench.errors import RunFailed
from bench.forms import CONTENT_TYPE, encode_form
from bench.server import pss_mib

_CHUNK_BYTES = 256 * 1024
_POLL_SECONDS = 0.1  # reading it stops the process for some milliseconds
_ALONE_SECONDS = 20.0
_BEFORE_SECONDS = 2.0  # the stream gets under way
_AFTERWARDS_SECONDS = 2.0  # files are freed
_TOKENS = 30_000  # five minutes at 100 per second
_READS_BETWEEN_LOOKS = 20  # at `stop`, which is in another process
_FIRST_READS = 5  # not counted: the stream is being set up


class Stream(msgspec.Struct, frozen=True):
    """The longest gap between two reads of a stream, in seconds, and how many reads there were."""

    longest_gap: float
    reads: int


class Uploads(msgspec.Struct, frozen=True):
    """`seconds` is from the first byte sent to the last answer; `pss_mib` the peak of the frontend."""

    seconds: float
    statuses: dict[int, int]
    pss_mib: float
    stream: Stream


def watch_stream(base_url: str, model: str, stop: Event) -> Stream:
    """Stream an answer until `stop` is set, or the answer ends."""
    return asyncio.run(_stream(base_url, model, stop))


async def _stream(base_url: str, model: str, stop: Event) -> Stream:
    url = urlsplit(base_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    body = request_body(model, "completions", "stream", _TOKENS, stream=True, ignore_eos=True)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: {url.hostname}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    arrivals: list[float] = []
    while part := await reader.read(65536):
        if len(arrivals) % _READS_BETWEEN_LOOKS == 0 and stop.is_set():
            break
        if not arrivals and b" 200 " not in part.split(b"\r\n", 1)[0]:
            raise RunFailed(f"no stream: {part.decode('utf-8', 'replace')}")
        arrivals.append(clock())
    writer.close()
    arrivals = arrivals[_FIRST_READS:]
    return Stream(max(after - before for before, after in pairwise(arrivals)), len(arrivals))


def upload(base_url: str, model: str, clients: int, megabytes: int) -> tuple[float, dict[int, int]]:
    """Upload noise from all clients at once. Returns the seconds it took and the statuses of the answers."""
    return asyncio.run(_upload(base_url, model, clients, megabytes))


async def _upload(base_url: str, model: str, clients: int, megabytes: int) -> tuple[float, dict[int, int]]:
    url = urlsplit(base_url)
    assert url.hostname is not None and url.port is not None, "a base URL has both"
    started = clock()
    sent = [_send(url.hostname, url.port, model, megabytes) for _ in range(clients)]
    statuses = await asyncio.gather(*sent)
    return clock() - started, dict(Counter(statuses))


async def _send(host: str, port: int, model: str, megabytes: int) -> int:
    """Send one form whose file is noise, in pieces; return the status of the answer."""
    size = megabytes * 10**6
    head, _, tail = encode_form({"model": model}, "noise.wav", b"\0FILE\0").partition(b"\0FILE\0")
    noise = os.urandom(_CHUNK_BYTES)
    reader, writer = await asyncio.open_connection(host, port)
    length = len(head) + size + len(tail)
    writer.write(
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {host}\r\nContent-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n".encode()
    )
    writer.write(head)
    for start in range(0, size, _CHUNK_BYTES):
        writer.write(noise[: size - start])
        await writer.drain()
    writer.write(tail)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


def measure(base_url: str, pid: int, stream_model: str, model: str, clients: int, megabytes: int) -> Uploads:
    """Upload beside a stream. `pid` is the frontend's. Raises RunFailed if nothing is streamed."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(2) as pool:
        stop = manager.Event()
        stream = pool.apply_async(watch_stream, (base_url, stream_model, stop))
        time.sleep(_BEFORE_SECONDS)
        uploads = pool.apply_async(upload, (base_url, model, clients, megabytes))
        peak = 0.0
        while not uploads.ready():
            peak = max(peak, pss_mib(pid))
            time.sleep(_POLL_SECONDS)
        time.sleep(_AFTERWARDS_SECONDS)
        stop.set()
        seconds, statuses = uploads.get()
        return Uploads(seconds, statuses, peak, stream.get())


def alone(base_url: str, stream_model: str) -> Stream:
    """The stream with nothing beside it."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(1) as pool:
        stop = manager.Event()
        stream = pool.apply_async(watch_stream, (base_url, stream_model, stop))
        time.sleep(_ALONE_SECONDS)
        stop.set()
        return stream.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base_url")
    parser.add_argument("pid", type=int, help="process id of the server")
    parser.add_argument("--stream-model", default="synthetic", help="the model that streams")
    parser.add_argument("--model", default="whisper", help="the model that the uploads name")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=200, help="of each upload")
    asked = parser.parse_args()
    before = alone(asked.base_url, asked.stream_model)
    print(f"alone: longest gap {before.longest_gap * 1000:.1f} ms, {before.reads} reads")
    found = measure(
        asked.base_url, asked.pid, asked.stream_model, asked.model, asked.clients, asked.megabytes
    )
    stream = found.stream
    print(f"beside uploads: longest gap {stream.longest_gap * 1000:.1f} ms, {stream.reads} reads")
    print(f"uploads: {found.seconds:.1f} s, statuses {found.statuses}; PSS at most {found.pss_mib:.1f} MiB")


if __name__ == "__main__":
    main()
