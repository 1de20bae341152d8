"""How soon people see the answer of `nacelle run`, and the first answer after a model was swapped in."""

import http.client
import json
import subprocess
import time
from typing import Any

from bench import figures
from bench.alone import seconds_of_command
from bench.errors import RunFailed
from bench.figures import Figure, Pair
from bench.kills import Observer, Samples, total
from bench.served import LOAD_SECONDS, MODEL_NAME, Sides
from bench.server import Server, command_environment, nacelle_command
from bench.stats import median
from bench.workload import text_prompt, token_prompt

_PROMPT_WORDS = 32
_RUNS = 3  # of each side in each pair
_PREFIX_TOKENS, _OWN_TOKENS = 1000, 32
_REHEARSAL_SECONDS = 120.0
_QUIET_SECONDS = 1.0  # without another rehearsal, after which all are done
_POLL_SECONDS = 0.1
_REHEARSED = "nacelle_rehearsed_total"


def first_word(sides: Sides, pairs: int) -> Figure:
    """Milliseconds from the start of `nacelle run MODEL PROMPT` to the first byte of its answer, beyond those
    of `nacelle --help` and the raw engine's time to first token. Medians of both sides in each pair."""
    measured = []
    for number in range(pairs):
        words, starts, tokens = [], [], []
        for again in range(_RUNS):
            starts.append(seconds_of_command("--help"))
            words.append(_seconds_to_first_byte(sides.server, text_prompt(number, again, _PROMPT_WORDS)))
            ttft = sides.raw(sides.workload(1, requests=1, max_tokens=2)).ttft
            assert ttft is not None, "two tokens have a first"
            tokens.append(ttft.p50)
        measured.append(Pair(1000 * median(words), 1000 * median(starts) + median(tokens)))
    added = [pair.ours - pair.yardstick for pair in measured]
    middle = figures.median_pair(measured)
    note = f"nacelle run {middle.ours:.0f} ms, CLI start and raw engine {middle.yardstick:.0f} ms"
    return Figure(figures.FIRST_WORD, median(added), added, pairs=measured, note=note)


def _seconds_to_first_byte(server: Server, prompt: str) -> float:
    """Of `nacelle run`. Raises RunFailed."""
    options = ["--max-tokens", "8", "--temperature", "0", "--url", server.base_url]
    command, environment = [*nacelle_command(), "run", MODEL_NAME, prompt, *options], command_environment()
    began = time.perf_counter()
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as run:
        assert run.stdout is not None and run.stderr is not None
        found = run.stdout.read(1)
        seconds = time.perf_counter() - began
        run.stdout.read()
        error = run.stderr.read().decode(errors="replace")
    if run.returncode or not found:
        raise RunFailed(f"nacelle run ended with status {run.returncode}: {error.strip() or 'no answer'}")
    return seconds


def after_a_swap(server: Server, pairs: int) -> Figure:
    """Time to first token of the first request after the model was unloaded and loaded ÷ that of others: all
    begin with the same 1000 tokens, which were asked for before, and end with tokens of their own."""
    observer = Observer(server, MODEL_NAME)
    measured = []
    for number in range(pairs):
        prefix = token_prompt(number, -1, _PREFIX_TOKENS)
        own = iter(token_prompt(number, index, _OWN_TOKENS) for index in range(5))
        for _ in range(2):  # the prefix is new, then known to be asked for again
            _seconds_to_first_token(server, [*prefix, *next(own)])
        before = _seconds_to_first_token(server, [*prefix, *next(own)])
        seen = observer.metrics()
        for action in ("unload", "load"):
            _post(server, f"/admin/models/{action}", {"model": MODEL_NAME})
        _await_rehearsals(observer, seen)
        first = _seconds_to_first_token(server, [*prefix, *next(own)])
        after = _seconds_to_first_token(server, [*prefix, *next(own)])
        measured.append(Pair(1000 * first, 1000 * (before + after) / 2))
    ratios = [pair.ratio for pair in measured]
    middle = figures.median_pair(measured)
    note = f"first {middle.ours:.1f}, others {middle.yardstick:.1f} ms"
    return Figure(figures.SWAP, median(ratios), ratios, pairs=measured, note=note)


def _await_rehearsals(observer: Observer, before: Samples) -> None:
    """Until the prefixes that were asked for lately are prefilled again. Raises RunFailed."""
    known = total(before, _REHEARSED, model=MODEL_NAME)
    deadline = time.monotonic() + _REHEARSAL_SECONDS
    count, changed = known, time.monotonic()
    while count == known or time.monotonic() - changed < _QUIET_SECONDS:
        if time.monotonic() > deadline:
            raise RunFailed(f"no prefix was prefilled again within {_REHEARSAL_SECONDS:g} s of a load")
        time.sleep(_POLL_SECONDS)
        now = total(observer.metrics(), _REHEARSED, model=MODEL_NAME)
        if now != count:
            count, changed = now, time.monotonic()


def _seconds_to_first_token(server: Server, prompt: list[int]) -> float:
    """Raises RunFailed."""
    body = {"model": MODEL_NAME, "prompt": prompt, "max_tokens": 2, "ignore_eos": True, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LOAD_SECONDS)
    try:
        began = time.perf_counter()
        response = _asked(connection, "/v1/completions", body)
        while not (line := response.readline()).startswith(b"data:"):  # comments keep connections alive
            if not line:
                raise RunFailed("a completion ended before its first token")
        seconds = time.perf_counter() - began
        response.read()
        return seconds
    finally:
        connection.close()


def _post(server: Server, path: str, body: dict[str, Any]) -> None:
    """Raises RunFailed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LOAD_SECONDS)
    try:
        _asked(connection, path, body).read()
    finally:
        connection.close()


def _asked(
    connection: http.client.HTTPConnection, path: str, body: dict[str, Any]
) -> http.client.HTTPResponse:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RunFailed(f"{path} answered {response.status}: {response.read(300)!r}")
    return response
