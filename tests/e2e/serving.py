"""A server under test: started as a process, asked over HTTP, looked at from outside."""

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import openai
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.server import Server, free_port, nacelle_command
from tests import exact

MODEL = "smollm2"
LOAD_SECONDS = 90.0
EXACT = exact.as_options(exact.EXACT)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Poll until `condition` is true and return its value; fail, saying `what`, after `seconds`.

    What is awaited needs the processor, too: a quarter of the time at most is spent in `condition`, and less
    the longer it takes.
    """
    began = asked = time.monotonic()
    while not (value := condition()):
        now = time.monotonic()
        assert now < began + seconds, f"not within {seconds} s: {what}"
        time.sleep(min(max(0.01, 3 * (now - asked), (now - began) / 50), 0.1))
        asked = time.monotonic()
    return value


class Serving(Server):
    """`nacelle serve` with `models`, on a free port or the given one.

    Engines have one thread each, since files of tests run side by side.
    """

    poll_seconds = 0.05  # nothing is measured, and the processor is shared

    def __init__(
        self,
        models: Sequence[str],
        arguments: Sequence[str],
        environment: dict[str, str],
        port: int | None = None,
    ) -> None:
        port = port or free_port()
        command = [*nacelle_command(), "serve", *models, "--port", str(port), *arguments]
        super().__init__(command, port, {"NACELLE_THREADS": "1"} | environment)
        self.http = httpx.Client(base_url=self.base_url, timeout=60.0)

    def wait_until_ready(self, model: str = MODEL) -> Self:
        self.wait_for(f"/ready/{model}", LOAD_SECONDS)
        return self

    def client(self) -> openai.OpenAI:
        """An OpenAI client that does not retry, so that every failure is seen."""
        return openai.OpenAI(base_url=f"{self.base_url}/v1", api_key="unused", max_retries=0, timeout=60.0)

    def chat(self, content: str = "Say hello.", **fields: Any) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "temperature": 0}
        return self.http.post("/v1/chat/completions", json=body | {"max_tokens": 8} | fields)

    def readiness(self, model: str = MODEL) -> dict[str, Any]:
        health: dict[str, Any] = self.http.get(f"/ready/{model}").json()
        return health

    def host_pid(self, model: str = MODEL) -> int:
        pid: int = self.readiness(model)["replicas"][0]["pid"]
        return pid

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry `labels`."""
        return self._sum_of_metrics((name,), labels)

    def _sum_of_metrics(self, names: tuple[str, ...], labels: dict[str, str]) -> float:
        # Only lines that begin with a name are parsed: to parse all takes longer than to make them.
        lines = [line for line in self.http.get("/metrics").text.splitlines() if line.startswith(names)]
        return sum(
            sample.value
            for family in text_string_to_metric_families("\n".join(lines))
            for sample in family.samples
            if sample.name in names and labels.items() <= sample.labels.items()
        )

    def running(self) -> float:
        """Sequences inside engines, computing or waiting there."""
        return self._sum_of_metrics(("nacelle_requests_running", "nacelle_requests_waiting"), {})

    def kill_host(self, number: signal.Signals, model: str = MODEL) -> int:
        """Send a signal to the first replica's host; returns the pid it had."""
        pid = self.host_pid(model)
        psutil.Process(pid).send_signal(number)
        return pid

    def wait_for_replacement(self, pid: int) -> None:
        """Until another host than `pid` is ready."""

        def replaced() -> bool:
            health = self.readiness()
            return bool(health["ready"]) and health["replicas"][0]["pid"] != pid

        wait_for(replaced, f"host {pid} replaced", LOAD_SECONDS)

    def wait_for_exit(self, seconds: float = 30.0) -> int:
        return self._process.wait(seconds)

    def stop(self) -> None:
        self.http.close()
        super().stop()


def maps_of(pid: int) -> str:
    """The files that a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that only waits to be collected by a new parent does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
