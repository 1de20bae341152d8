"""A stand-in for a supervised host, for histories of the router's decisions: it records what it is sent.

It says nothing about engines or processes; the end-to-end tests do that.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from frontend.config import ModelSettings
from frontend.observability.metrics import Metrics
from frontend.routing.job import Body
from frontend.routing.route import LocalRoute
from frontend.spool import Spool
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import Lifecycle, State
from frontend.tasks.generation import Generation
from frontend.tasks.text import SequenceSpec, TextJob
from ipc.arena import Lease
from ipc.messages import (
    Accepted,
    Cancel,
    Delta,
    Finish,
    Generate,
    Payload,
    Prompt,
    Ready,
    Sampling,
    TextCard,
    TextInput,
    TextPrompt,
    ToFrontend,
    ToHost,
    Work,
)

CARD = TextCard(
    device_name="CPU",
    slots=4,
    context_length=8192,
    load_seconds=1.0,
    fingerprint="",
    properties={},
    vocab_size=1000,
    kv_cache_tokens=100_000,
    chat_template="",
)
_decode = msgspec.msgpack.Decoder(TextInput).decode


def prompt_in(payload: Payload) -> Prompt:
    """What an inline payload of Generate holds."""
    assert isinstance(payload, bytes)
    return _decode(payload).prompt


class RecordingHost:
    device = "CPU"
    takes_jobs = True
    pid = None
    restarts = leased_bytes = resident_bytes = 0

    def __init__(self, number: int, card: TextCard) -> None:
        self.number = number
        self.life = Lifecycle(State.READY)
        self.card: TextCard | None = card
        self.sent: list[ToHost] = []
        self.made: Counter[int] = Counter()  # tokens of each request that it has produced
        self.room: Lease | None = None  # in an arena that is full
        self.completions = 0

    @property
    def ready(self) -> bool:
        return self.life.state is State.READY and self.card is not None

    def send(self, message: ToHost) -> None:
        assert self.card is not None or isinstance(message, Cancel), "sent to a dead host, and lost"
        self.sent.append(message)

    def lease(self, body: Body) -> Lease | None:
        return self.room

    def upload(self, work: Work, spool: Spool, is_wanted: Callable[[], bool]) -> None:
        raise AssertionError("nothing is uploaded here")

    def completed(self) -> None:
        self.completions += 1

    def held(self) -> list[Generate]:
        """What it was told to generate and not to cancel, in order."""
        cancelled = {m.request_id for m in self.sent if isinstance(m, Cancel)}
        return [m for m in self.sent if isinstance(m, Generate) and m.request_id not in cancelled]


class History:
    """A model route with recording hosts, and the events that drive it."""

    def __init__(self, replicas: int = 1, max_queue: int = 100, slots: int = 4) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.all_metrics = Metrics()
        self.metrics = self.all_metrics.of_model("m")
        self.route = LocalRoute(
            ModelSettings(name="m", source="m"),
            max_queue,
            self.metrics,
            lambda: self.now,
            lambda s, f: self.timers.append((s, f)),
        )
        self.hosts: list[RecordingHost] = []
        self._card = msgspec.structs.replace(CARD, slots=slots)
        for _ in range(replicas):
            self.add_replica()

    def add_replica(self) -> None:
        host = RecordingHost(len(self.hosts), self._card)
        self.hosts.append(host)
        self.route.add(host)

    def ask(self, name: str, streaming: bool = True, choices: int = 1, **sampling: object) -> Generation:
        fields = {"temperature": 0.0, **sampling}
        specs = [SequenceSpec(TextPrompt(name), Sampling(**fields)) for _ in range(choices)]  # type: ignore[arg-type]
        self.now += 1
        generation = Generation(specs, self.now, self.route.drop, streaming)
        self.route.submit(generation.sequences)
        return generation

    def say(self, host: int, *messages: ToFrontend) -> None:
        """One frame."""
        self.route.take(self.route.replicas[host], messages)

    def accept(self, host: int = 0) -> None:
        """The host accepts everything that it holds."""
        for request_id in list(self.route.replicas[host].jobs):
            self.say(host, Accepted(request_id, 10))

    def step(self, host: int = 0, *only: str) -> None:
        """One token for each sequence that the host holds, or for those with a prompt of `only`.

        A token's id is its place in the text, as far as the host knows what was there before.
        """
        replica, stand_in = self.route.replicas[host], self.hosts[host]
        told = {m.request_id: len(m.resume_token_ids) for m in stand_in.sent if isinstance(m, Generate)}
        deltas = []
        for request_id, job in replica.jobs.items():
            assert isinstance(job, TextJob)
            prompt = job.spec.prompt
            assert isinstance(prompt, TextPrompt)
            if not only or prompt.text in only:
                index = told[request_id] + stand_in.made[request_id]
                stand_in.made[request_id] += 1
                deltas.append(Delta(request_id, [index], f"{prompt.text}{index} "))
        self.say(host, *deltas)

    def complete(self, host: int = 0) -> None:
        for request_id in list(self.route.replicas[host].jobs):
            self.say(host, Delta(request_id, [], "", Finish("stop")))

    def die(self, host: int = 0, number: int = 11, stalled: bool = False, starved: bool = False) -> bool:
        """The host's process ends and a new one begins to load."""
        death = Death(
            model="m",
            replica=host,
            device="CPU",
            pid=1,
            phase="step",
            signal=number,
            stalled=stalled,
            starved=starved,
        )
        self.hosts[host].card = None
        counted = self.route.died(self.route.replicas[host], death)
        self.become(State.STARTING, host)
        self.hosts[host].sent.clear()
        return counted

    def become(self, state: State, host: int = 0) -> None:
        self.hosts[host].life = Lifecycle(state, reason="it died")
        self.route.changed()

    def ready_again(self, host: int = 0) -> None:
        self.hosts[host].card = self._card
        self.hosts[host].life = Lifecycle(State.READY)
        self.say(host, Ready(self._card))

    def holds(self, host: int = 0) -> list[str]:
        """The prompts of what a host holds, in the order in which it was sent."""
        prompts = [prompt_in(m.payload) for m in self.hosts[host].held()]
        return [prompt.text for prompt in prompts if isinstance(prompt, TextPrompt)]


def text_of(generation: Generation) -> str:
    """What has come and was not read yet."""
    outputs, generation._buffer = generation._buffer, []
    text = ""
    for output in outputs:
        text = output.text if output.starts_over else text + output.text
    return text


def error_of(generation: Generation) -> Exception | None:
    return generation._error
