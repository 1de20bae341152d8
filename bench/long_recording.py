"""Hours of speech: `python -m bench.long_recording [MODEL] [--hours 2]`.

Starts a server, transcribes one passage for a minute, then the same passage repeated for hours, and prints
how far the last times are off, which passages are missing or out of place, and how much more memory (PSS)
the engine host needed. Exits with status 1 beyond half a second, or 300 MiB, or if a passage is missing.
"""

import argparse
import contextlib
import http.client
import math
import threading
from difflib import SequenceMatcher

import msgspec
import psutil

from bench.errors import RunFailed
from bench.espeak import speak
from bench.forms import CONTENT_TYPE, encode_form
from bench.recordings import wav
from bench.server import nacelle_server, pss_mib

_PASSAGE = (
    "The captain followed the river to the old village. In the morning, the teacher opened every window of "
    "the school. A famous engine stood behind the market. After the storm, nobody remembered the bridge."
)
_PAUSE_SECONDS = 2.0  # after each passage
_ANSWER_SECONDS = 4 * 3600.0
_LOAD_SECONDS = 300.0
_POLL_SECONDS = 0.2
_ALIKE = 0.8  # of the letters of a passage, compared with the first one's
_SECONDS_OFF, _MIB_MORE = 0.5, 300.0


class Segment(msgspec.Struct, frozen=True):
    """A part of a transcript, from `start` to `end` seconds."""

    start: float
    end: float
    text: str


class Transcript(msgspec.Struct, frozen=True):
    """What is read of an answer in `verbose_json`."""

    duration: float
    segments: list[Segment]


class Comparison(msgspec.Struct, frozen=True):
    """`misplaced` are the passages whose words are not where they were spoken.

    `last_off` is how many seconds the last passage begins too late, compared with the first one.
    """

    passages: int
    misplaced: list[int]
    last_off: float


def compared(segments: list[Segment], period: float, count: int) -> Comparison:
    """Compare `count` passages, one of which begins every `period` seconds, with the first one.

    A segment belongs to the passage in which its middle lies.
    """
    passages: list[list[Segment]] = [[] for _ in range(count)]
    for segment in segments:
        index = math.floor((segment.start + segment.end) / 2 / period)
        if index < count:
            passages[index].append(segment)
    first = _text(passages[0])
    misplaced = [index for index, found in enumerate(passages) if _alike(_text(found), first) < _ALIKE]
    if not passages[0] or not passages[-1]:
        return Comparison(count, misplaced, math.inf)
    expected = passages[0][0].start + (count - 1) * period
    return Comparison(count, misplaced, passages[-1][0].start - expected)


def _text(segments: list[Segment]) -> str:
    return " ".join(segment.text.strip() for segment in segments)


def _alike(text: str, other: str) -> float:
    return SequenceMatcher(None, text, other, autojunk=False).ratio()


def transcribe(port: int, model: str, recording: bytes) -> Transcript:
    """Raises RunFailed."""
    body = encode_form({"model": model, "response_format": "verbose_json"}, "long.wav", recording)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": CONTENT_TYPE})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise RunFailed(f"status {answer.status}: {text.decode('utf-8', 'replace')}")
    return msgspec.json.decode(text, type=Transcript)


class Peak:
    """The largest PSS of a process while the context is entered, in MiB."""

    def __init__(self, process: psutil.Process) -> None:
        self._pid = process.pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.mib = 0.0

    def _watch(self) -> None:
        with contextlib.suppress(OSError):  # once the process is gone
            while not self._over.wait(_POLL_SECONDS):
                self.mib = max(self.mib, pss_mib(self._pid))

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if not psutil.pid_exists(self._pid):
            raise RunFailed("the engine host died")


def measure(model: str, hours: float) -> bool:
    """Print the figures; return whether they hold."""
    spoken = speak([_PASSAGE])
    passage = spoken.samples[0] + bytes(2 * round(_PAUSE_SECONDS * spoken.rate))
    period = len(passage) / 2 / spoken.rate
    short, count = math.ceil(60 / period), math.ceil(3600 * hours / period)
    with nacelle_server(model, "--name", "ears") as server:
        server.wait_for("/ready", _LOAD_SECONDS)
        [host] = server.hosts()
        with Peak(host) as minute:
            transcribe(server.port, "ears", wav(short * passage, spoken.rate))
        with Peak(host) as long:
            transcript = transcribe(server.port, "ears", wav(count * passage, spoken.rate))
    found = compared(transcript.segments, period, count)
    more = long.mib - minute.mib
    print(f"{transcript.duration:.1f} s in {len(transcript.segments)} segments, {count} passages")
    print(f"passages that are not in their place: {found.misplaced or 'none'}")
    print(f"the last passage begins {found.last_off:+.2f} s from where it was spoken")
    print(
        f"host's PSS at most {minute.mib:.0f} MiB for a minute, {long.mib:.0f} MiB for all: {more:+.0f} MiB"
    )
    return not found.misplaced and abs(found.last_off) <= _SECONDS_OFF and more <= _MIB_MORE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="?", default="whisper-tiny-en")
    parser.add_argument("--hours", type=float, default=2.0)
    asked = parser.parse_args()
    try:
        is_good = measure(asked.model, asked.hours)
    except RunFailed as error:
        raise SystemExit(str(error)) from error
    raise SystemExit(0 if is_good else 1)


if __name__ == "__main__":
    main()
