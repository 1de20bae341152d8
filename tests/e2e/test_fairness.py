"""Several callers share a real host with one slot: the whole stack in this process, asked as each caller."""

import asyncio
import json
from pathlib import Path

from frontend.api.application import build
from frontend.api.memory import Memory
from frontend.caller import Caller, Limits
from frontend.config import ModelSettings, Settings
from frontend.http import inside
from frontend.http.asgi import Application
from frontend.models.resolve import PreparedModel
from frontend.routing.route import LocalRoute
from tests.frontend.residency.serving import Serving, run, wait_for

MODEL = "tiny"


def completion(
    app: Application, caller: Caller, prompt: str, max_tokens: int = 1
) -> "asyncio.Task[inside.Answer]":
    body = {"model": MODEL, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    asked = inside.ask(app, caller, "/v1/completions", json.dumps(body).encode())
    return asyncio.ensure_future(asked)


async def one_light_request_among_many(
    serving: Serving, app: Application, heavy: Caller, waiting: int
) -> None:
    """The light caller's request waits for the running one of the heavy caller, and at most one more."""
    light = Caller(key_id="light")
    route = serving.router.routes[MODEL]
    assert isinstance(route, LocalRoute)
    line = route.jobs.queue.fair.line
    many = [completion(app, heavy, f"heavy {number}") for number in range(waiting)]
    await wait_for(lambda: line(heavy).of(heavy.key_id) >= waiting - 30, "most of them wait")
    light_one = completion(app, light, "light")
    await wait_for(lambda: line(light).of(light.key_id) or light_one.done(), "it is queued")
    done_before = sum(task.done() for task in many)
    answer = await light_one
    done_meanwhile = sum(task.done() for task in many) - done_before
    assert answer.status == 200
    assert done_meanwhile <= 2, "the one that ran, and one more"
    assert not all(task.done() for task in many)
    assert {(await task).status for task in many} == {200}


async def exactly_what_each_may(app: Application) -> None:
    allowed = {"two": 2, "four": 4}
    for key, count in allowed.items():
        caller = Caller(key_id=key, limits=Limits(requests_per_minute=count))
        statuses = [(await completion(app, caller, "x")).status for _ in range(count + 2)]
        assert statuses == [200] * count + [429] * 2


async def tokens_as_the_answer_counts_them(serving: Serving, app: Application) -> None:
    caller = Caller(key_id="tokens", limits=Limits(tokens_per_minute=10_000))
    answer = await completion(app, caller, "how many tokens are these", max_tokens=7)
    used = json.loads(answer.body)["usage"]["total_tokens"]
    (level,) = serving.router.quotas.levels(caller)
    refilled = 10_000 / 60  # in a second, which nothing above takes
    assert 10_000 - used <= level.remaining <= 10_000 - used + refilled
    too_much = await completion(app, caller, "x", max_tokens=10_001)
    assert (too_much.status, too_much.header(b"x-should-retry")) == (429, b"false")


def test_callers_get_their_shares_of_a_host_and_what_their_limits_allow(qwen3_ir: Path):
    settings = Settings()
    model = ModelSettings(name=MODEL, source=str(qwen3_ir), max_num_seqs=1, threads=1, kv_cache_gib=0.1)
    prepared = PreparedModel(settings=model, engine="text", path=str(qwen3_ir))

    async def scenario(serving: Serving) -> None:
        memory = Memory(settings, serving.router)
        app = build(settings, serving.router, serving.metrics, memory, serving.library)
        await serving.until(MODEL, "ready")
        await one_light_request_among_many(serving, app, Caller(key_id="heavy"), 200)
        await one_light_request_among_many(serving, app, Caller(key_id="night", is_batch=True), 50)
        await exactly_what_each_may(app)
        await tokens_as_the_answer_counts_them(serving, app)
        await memory.close()

    run(scenario, settings, prepared)
