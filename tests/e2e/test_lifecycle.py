"""Models come and go at random while they are asked: nothing breaks, nothing is left, memory stays.

Takes minutes, and runs only if asked for: see docs/models.md. The hub is a stand-in on this machine.
"""

import concurrent.futures
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from bench.server import pss_mib
from tests.e2e.serving import Serving, is_alive, wait_for
from tests.frontend.models.sources.web_servers import HubServer

pytestmark = [pytest.mark.lifecycle, pytest.mark.timeout(3600)]

MODELS = ("org/one", "org/two", "org/three")
STAYS = "synthetic"
ALIASES = ("any", "other")
WARM_UP, OPERATIONS = 20, 100
WORKERS, CLIENTS = 2, 4
SETTLING_REQUESTS = 8  # of each model, before memory is measured
GROWTH = 1.05
SEED = 12
# Known to clients: a model that is not there, somebody else changes it, or it is not available for a while.
STATED = {200, 404, 409, 429, 503}


class World:
    """One server, what is done to it, and how it answered."""

    def __init__(self, server: Serving) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.base_url, timeout=600.0)
        self.operations: Counter[tuple[str, int]] = Counter()
        self.answers: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.pids: set[int] = set()
        self._count = threading.Lock()

    # --- operations -----------------------------------------------------------------------------------------

    def pull(self, name: str) -> httpx.Response:
        return self.http.post("/api/pull", json={"model": name, "stream": False})

    def load(self, name: str) -> httpx.Response:
        return self.http.post("/admin/models/load", json={"model": name})

    def unload(self, name: str) -> httpx.Response:
        return self.http.post("/admin/models/unload", json={"model": name})

    def rm(self, name: str) -> httpx.Response:
        return self.http.request("DELETE", "/api/delete", json={"model": name})

    def alias(self, name: str, chance: random.Random) -> httpx.Response:
        target = name if chance.random() < 0.7 else None
        return self.http.post("/admin/alias", json={"alias": chance.choice(ALIASES), "model": target})

    def operate(self, seed: int) -> None:
        chance = random.Random(seed)
        name = chance.choice(MODELS)
        choices: dict[str, Callable[[], httpx.Response]] = {
            "pull": lambda: self.pull(name),
            "load": lambda: self.load(name),
            "unload": lambda: self.unload(name),
            "rm": lambda: self.rm(name),
            "alias": lambda: self.alias(name, chance),
        }
        what = chance.choices(list(choices), (4, 3, 2, 1, 2))[0]
        answer = choices[what]()
        self.pids |= {child.pid for child in self.children()}
        with self._count:
            self.operations[what, answer.status_code] += 1
        if (what, answer.status_code) != ("alias", 400):  # the model that it is to mean is not there
            self.check(f"{what} {name}", answer.status_code, answer.headers, answer.text)

    # --- requests -------------------------------------------------------------------------------------------

    def ask(self, chance: random.Random) -> None:
        model = chance.choice((*MODELS, *ALIASES, STAYS))
        body = {
            "model": model,
            "messages": [{"role": "user", "content": f"Count to {chance.randrange(1000)}."}],
            "max_tokens": chance.randrange(1, 33),
            "stream": chance.random() < 0.5,
        }
        answer = self.http.post("/v1/chat/completions", json=body)
        with self._count:
            self.answers[answer.status_code] += 1
        self.check(f"chat {model}", answer.status_code, answer.headers, answer.text)

    def check(self, what: str, status: int, headers: httpx.Headers, text: str) -> None:
        if status not in STATED or (status == 503 and "retry-after" not in headers):
            self.wrong.append(f"{what}: {status} {text[:300]}")
        events = [line for line in text.split("\n\n") if line.startswith("data: ")]
        broken = [event for event in events if '"error"' in event and "model_not_found" not in event]
        if broken or (events and "[DONE]" not in events[-1] and '"error"' not in text):
            self.wrong.append(f"{what}: {status} {(broken or events)[-1][:300]}")

    # --- state ----------------------------------------------------------------------------------------------

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.server.pid).children(recursive=True)

    def settle(self) -> float:
        """The PSS, in MiB, of the server and its hosts with all models just loaded and a little used."""
        for name in ALIASES:
            self.http.post("/admin/alias", json={"alias": name, "model": None})
        for name in MODELS:
            for step in (self.pull, self.unload, self.load):
                answer = step(name)
                assert answer.status_code == 200, f"{step.__name__} {name}: {answer.text}"
            for number in range(SETTLING_REQUESTS):
                answer = self.server.chat(f"Count to {number}.", model=name, max_tokens=16)
                assert answer.status_code == 200, answer.text
        loaded = len(MODELS) + 1
        wait_for(lambda: len(self.server.hosts()) == loaded, "only the hosts of loaded models are left")
        wait_for(lambda: not self.server.running(), "nothing runs")
        sizes = [pss_mib(pid) for pid in (self.server.pid, *(host.pid for host in self.server.hosts()))]
        print("PSS in MiB, of the server and of hosts:", *map(round, sizes), "together", round(sum(sizes)))
        return sum(sizes)


@pytest.fixture
def world(tmp_path: Path, qwen3_ir: Path) -> Iterator[World]:
    hub = HubServer()
    files = {path.name: path.read_bytes() for path in qwen3_ir.iterdir() if path.is_file()}
    for number, name in enumerate(MODELS):
        hub.add(name, {**files, "README.md": name.encode()}, commit=f"{number}" * 40)
    server = Serving(["synthetic:50"], ["--kv-cache-gib", "0.1"], hub.environment(tmp_path))
    try:
        world = World(server.wait_until_ready(STAYS))
        yield world
        world.http.close()
    finally:
        server.stop()
        hub.close()
    left = [pid for pid in world.pids if is_alive(pid)]
    assert not left, "the server leaves no process behind"


def operate_under_load(world: World, seeds: range) -> None:
    stop = threading.Event()

    def client(number: int) -> None:
        chance = random.Random(number)
        while not stop.is_set():
            world.ask(chance)
            stop.wait(0.02)  # a name that nobody has is answered at once

    with concurrent.futures.ThreadPoolExecutor(CLIENTS + WORKERS) as pool:
        clients = [pool.submit(client, seeds.start + number) for number in range(CLIENTS)]
        try:
            with concurrent.futures.ThreadPoolExecutor(WORKERS) as workers:
                list(workers.map(world.operate, seeds))
        finally:
            stop.set()
        for each in clients:
            each.result()


def test_random_operations_break_nothing_leave_nothing_and_take_no_memory(world: World) -> None:
    operate_under_load(world, range(SEED, SEED + WARM_UP))
    before = world.settle()
    kinds = Counter(" ".join(child.cmdline()[:4]) for child in world.children())
    operate_under_load(world, range(SEED + WARM_UP, SEED + WARM_UP + OPERATIONS))
    print("operations:", dict(world.operations), "answers:", dict(world.answers))
    assert world.wrong == []
    assert world.answers[200] > world.answers[503]
    after = world.settle()
    assert Counter(" ".join(child.cmdline()[:4]) for child in world.children()) == kinds, "no process leaks"
    print(f"PSS {before:.0f} -> {after:.0f} MiB: {after / before:.3f}")
    assert after <= GROWTH * before
