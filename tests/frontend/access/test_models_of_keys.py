"""A model that a key may not use does not exist for it, whatever the API. The hosts are stand-ins."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from frontend.access.keys import KeyRecord, digest
from frontend.access.keys_file import changing
from frontend.access.sight import asking, sight
from frontend.api.application import build
from frontend.api.area import Control
from frontend.api.memory import Memory
from frontend.caller import Caller
from frontend.config import ModelSettings, Settings
from frontend.downloads import Downloads
from frontend.errors import BadRequest, ModelNotFound, ServerError
from frontend.http.exchange import Exchange
from frontend.observability.incidents import Outcomes
from frontend.observability.metrics import Metrics
from frontend.routing.names import Names
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router, RouterOptions
from frontend.supervision.death import Death
from ipc.messages import Ready
from tests.frontend.api.test_embeddings import embedded
from tests.frontend.api.vector_server import StandIn, vector_card

MODELS = ("open", "open:tag", "secret", "hidden")
NAMES = Names(
    {"mine": "open", "chat": "secret", "lost": "gone"},
    {"mix": {"open": 1.0, "secret": 99.0}, "shut": {"secret": 1.0, "hidden": 1.0}},
)
LISTS = {"narrow": ("open",), "alias": ("chat",), "variants": ("shut",), "pattern": ("op*",), "none": ()}


def made_router(metrics: Metrics | None = None) -> tuple[Router, dict[str, StandIn]]:
    settings, metrics = Settings(), metrics or Metrics()
    router = Router(RouterOptions(settings.arena_bytes, settings.request_timeout_seconds))
    hosts = {}
    for name in MODELS:
        host = hosts[name] = StandIn(vector_card(4))
        host.reply = embedded
        later = asyncio.get_running_loop().call_later
        route = LocalRoute(
            ModelSettings(name=name, source=name), 100, metrics.of_model(name), time.monotonic, later
        )
        replica = route.add(host)
        host.say = lambda message, route=route, replica=replica: route.take(replica, [message])  # type: ignore[misc]
        host.say(Ready(vector_card(4)))
        router.add(route)
    router.names = NAMES
    return router, hosts


class Server:
    def __init__(self, path: Path) -> None:
        with changing(path) as records:
            records += [
                KeyRecord(id=name, sha256=digest(name), scopes=("inference", "admin"), models=models)
                for name, models in {**LISTS, "all": None}.items()
            ]
        settings = Settings(api_keys_file=str(path))
        self.metrics = Metrics()
        self.router, self.hosts = made_router(self.metrics)
        self.memory = Memory(settings, self.router)
        self.control = Control()
        self.ended: list[ServerError] = []  # requests, by an administrator
        self.downloads = Downloads(str(path.parent / "store"), max_running=0)
        app = build(
            settings,
            self.router,
            self.metrics,
            self.memory,
            control=self.control,
            downloads=self.downloads,
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")

    async def ask(self, key: str, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})

    async def listed(self, key: str, path: str = "/v1/models") -> set[str]:
        answer = (await self.ask(key, "GET", path)).json()
        return {model.get("id") or model["name"] for model in answer.get("data", answer.get("models"))}


def run(path: Path, scenario: Callable[[Server], Awaitable[None]]) -> None:
    async def inside() -> None:
        server = Server(path / "keys.json")
        async with server.http:
            await scenario(server)
        await server.downloads.close()
        await server.memory.background.close(0)
        await server.memory.close()

    asyncio.run(inside())


CHAT = [{"role": "user", "content": "Hello"}]
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/chat/completions", {"model": "NAME", "messages": CHAT}),
    ("POST", "/v1/chat/completions/render", {"model": "NAME", "messages": CHAT}),
    ("POST", "/chat/completions", {"model": "NAME", "messages": CHAT, "stream": True}),
    ("POST", "/v1/completions", {"model": "NAME", "prompt": "a"}),
    ("POST", "/v1/responses", {"model": "NAME", "input": "a"}),
    ("POST", "/v1/responses/input_tokens", {"model": "NAME", "input": "a"}),
    ("POST", "/v1/responses/compact", {"model": "NAME", "input": "a"}),
    ("POST", "/v1/messages", {"model": "NAME", "messages": CHAT, "max_tokens": 1}),
    ("POST", "/v1/messages/count_tokens", {"model": "NAME", "messages": CHAT}),
    ("POST", "/v1/embeddings", {"model": "NAME", "input": "a"}),
    ("POST", "/v1/rerank", {"model": "NAME", "query": "a", "documents": ["b"]}),
    ("POST", "/score", {"model": "NAME", "text_1": "a", "text_2": "b"}),
    ("POST", "/v1/audio/speech", {"model": "NAME", "input": "a", "voice": "b"}),
    ("GET", "/v1/audio/voices?model=NAME", None),
    ("POST", "/tokenize", {"model": "NAME", "prompt": "a"}),
    ("POST", "/detokenize", {"model": "NAME", "tokens": [1]}),
    ("GET", "/tokenizer_info?model=NAME", None),
    ("GET", "/v1/models/NAME", None),
    ("GET", "/v1//models/NAME/", None),
    ("GET", "/ready/NAME", None),
    ("POST", "/api/chat", {"model": "NAME", "messages": CHAT, "stream": False}),
    ("POST", "/api/chat", {"model": "NAME", "messages": [], "keep_alive": 0, "stream": False}),
    ("POST", "/api/generate", {"model": "NAME", "prompt": "a", "stream": False}),
    ("POST", "/api/embed", {"model": "NAME", "input": "a"}),
    ("POST", "/api/embeddings", {"model": "NAME", "prompt": "a"}),
    ("POST", "/api/show", {"model": "NAME"}),
    ("DELETE", "/api/delete", {"model": "NAME"}),
    ("POST", "/api/copy", {"source": "NAME", "destination": "open-copy"}),
    ("GET", "/admin/models/NAME", None),
    ("POST", "/admin/models/unload", {"model": "NAME"}),
    ("POST", "/admin/models/pin", {"model": "NAME", "pinned": True}),
]


def named(request: tuple[str, str, Any], name: str) -> Any:
    return json.loads(json.dumps(request).replace("NAME", name))


def test_a_model_of_others_is_answered_like_one_that_does_not_exist(tmp_path):
    async def compare(server: Server, request_: tuple[str, str, Any]) -> None:
        answers = []
        for name in ("nosuch", "secret", "hidden", "chat", "shut", "secret:latest", "chat:latest"):
            answer = await server.ask("narrow", *named(request_, name))
            shown = answer.json()
            shown.pop("request_id", None)
            answers.append(
                (answer.status_code, json.dumps(shown).replace(f"{name}'", "N'").replace(f'{name}\\"', 'N"'))
            )
        assert answers[0][0] == 404, (request_, answers[0])
        assert set(answers) == {answers[0]}, request_
        assert "secret" not in answers[0][1] and "hidden" not in answers[0][1]

    async def scenario(server: Server) -> None:
        for request_ in REQUESTS:
            await compare(server, request_)
        assert not any(host.sent for host in server.hosts.values())

    run(tmp_path, scenario)


def test_lists_show_only_what_a_key_may_use(tmp_path):
    async def scenario(server: Server) -> None:
        every = {"open", "open:tag", "secret", "hidden", "mine", "chat", "mix", "shut"}
        expected = {
            "all": every,
            "narrow": {"open", "mine", "mix"},
            "pattern": {"open", "open:tag", "mine", "mix"},
            "alias": {"chat"},
            "variants": {"shut"},
            "none": set(),
        }
        for key, names in expected.items():
            assert await server.listed(key) == names, key
            tags = {name.removesuffix(":latest") for name in await server.listed(key, "/api/tags")}
            assert tags == names, key
            statuses = await server.listed(key, "/admin/models")
            assert statuses == {name for name in names if name in MODELS}, key
        detail = (await server.ask("alias", "GET", "/v1/models")).json()["data"][0]
        assert "secret" not in json.dumps(detail)

    run(tmp_path, scenario)


def test_incidents_and_requests_of_models_of_others_are_not_shown(tmp_path):
    async def scenario(server: Server) -> None:
        for model in ("open", "secret"):
            server.control.incidents.record(
                f"inc_{model}", Death(model, 0, "CPU", 1, "ready"), Outcomes(), [], {}
            )
            exchange = Exchange(f"of-{model}", 0.0, Caller("other"), model=model)
            exchange.end = server.ended.append
            server.control.in_flight.add(exchange)
        server.control.in_flight.add(Exchange("mine", 0.0, Caller("narrow")))
        for key, seen, requests in (
            ("all", {"open", "secret"}, {"of-open", "of-secret", "mine"}),
            ("narrow", {"open"}, {"of-open", "mine"}),
            ("none", set(), set()),
        ):
            incidents = (await server.ask(key, "GET", "/admin/incidents")).json()["incidents"]
            assert {incident["model"] for incident in incidents} == seen
            listed = (await server.ask(key, "GET", "/admin/requests")).json()["requests"]
            assert {request["id"] for request in listed} == requests
        for path in ("/admin/incidents/inc_secret", "/admin/requests/of-secret"):
            assert (await server.ask("narrow", "GET", path)).status_code == 404
        assert (await server.ask("narrow", "DELETE", "/admin/requests/of-secret")).status_code == 404
        assert not server.ended
        assert (await server.ask("narrow", "DELETE", "/admin/requests/of-open")).status_code == 200
        assert len(server.ended) == 1

    run(tmp_path, scenario)


def test_a_key_uses_what_its_names_stand_for(tmp_path):
    async def scenario(server: Server) -> None:
        async def answered(key: str, name: str, times: int = 1) -> set[str]:
            found = set()
            for _ in range(times):
                answer = await server.ask(key, "POST", "/v1/embeddings", {"model": name, "input": "a"})
                found.add(answer.headers.get("x-nacelle-model", answer.json().get("error", {}).get("code")))
            return found

        for key, name, models in (
            ("narrow", "open", {"open"}),
            ("narrow", "open:latest", {"open"}),
            ("narrow", "mine", {"open"}),  # it stands for a model of the list
            ("narrow", "open:tag", {"model_not_found"}),
            ("narrow", "chat", {"model_not_found"}),
            ("pattern", "open:tag", {"open:tag"}),
            ("alias", "chat", {"secret"}),
            ("alias", "chat:latest", {"secret"}),
            ("alias", "secret", {"model_not_found"}),
            ("none", "open", {"model_not_found"}),
            ("all", "secret", {"secret"}),
        ):
            assert await answered(key, name) == models, (key, name)
        assert await answered("narrow", "mix", 30) == {"open"}, "of a set, the models of the list"
        assert await answered("variants", "shut", 60) == {"secret", "hidden"}
        jobs = [work for host in server.hosts.values() for work in host.sent]
        assert jobs

    run(tmp_path, scenario)


def test_an_alias_cannot_be_switched_to_a_model_of_others(tmp_path):
    async def scenario(server: Server) -> None:
        async def switch(alias: str, model: str | None) -> tuple[int, str]:
            answer = await server.ask("pattern", "POST", "/admin/alias", {"alias": alias, "model": model})
            return answer.status_code, answer.text.replace(f"'{model}'", "N")

        missing = await switch("open-sesame", "nosuch")
        assert missing[0] == 400
        for model in ("secret", "chat", "shut"):
            assert await switch("open-sesame", model) == missing
        for alias in ("chat", "lost", "others"):  # nor may those of others
            for target in ("open", None):
                assert (await switch(alias, target))[0] == 403
        assert server.router.names == NAMES
        status, said = await switch("open-sesame", "open")
        assert (status, json.loads(said)["aliases"]) == (200, {"mine": "open", "open-sesame": "open"})

    run(tmp_path, scenario)


def test_a_probe_with_a_key_reports_its_models_and_one_without_is_told_what_it_needs(tmp_path):
    async def scenario(server: Server) -> None:
        with_key = (await server.ask("narrow", "GET", "/ready")).json()
        assert [model["id"] for model in with_key["models"]] == ["open"]
        for path in ("/ready", "/ready/secret", "/ready/chat"):
            for headers in ({}, {"Authorization": "Bearer nosuch"}):
                answer = await server.http.get(path, headers=headers)
                assert (answer.status_code, answer.json()) == (200, {"ready": True})
        missing = await server.http.get("/ready/opera")
        assert missing.status_code == 404
        assert missing.json()["error"]["message"] == "there is no such model"
        server.router.draining = True
        for path in ("/ready", "/ready/secret"):
            answer = await server.http.get(path)
            assert (answer.status_code, answer.json()) == (503, {"ready": False})

    run(tmp_path, scenario)


def test_metrics_and_figures_are_of_the_models_of_a_key(tmp_path):
    async def scenario(server: Server) -> None:
        for path in ("/metrics", "/admin/stats", "/v1/status", "/admin/hosts", "/admin/refusals"):
            whole = (await server.ask("all", "GET", path)).text
            mine = (await server.ask("narrow", "GET", path)).text
            if path != "/admin/refusals":
                assert "secret" in whole and "hidden" in whole
            assert "secret" not in mine and "hidden" not in mine and "open:tag" not in mine, path
        assert 'model="open"' in (await server.ask("narrow", "GET", "/metrics")).text
        assert "nacelle_http_response_bytes_total" in (await server.ask("narrow", "GET", "/metrics")).text

    run(tmp_path, scenario)


def test_downloads_are_those_of_the_models_of_a_key(tmp_path):
    async def scenario(server: Server) -> None:
        async def started(source: str, name: str | None = None) -> str:
            answer = await server.ask("all", "POST", "/admin/downloads", {"source": source, "name": name})
            id: str = answer.json()["id"]
            return id

        own = [await started("nowhere/x", "open"), await started("https://h.example/open.gguf")]
        secret = await started("nowhere/x", "secret")
        other = await started("nowhere/x")
        listed = (await server.ask("narrow", "GET", "/admin/downloads")).json()["data"]
        assert {download["id"] for download in listed} == set(own)
        assert len((await server.ask("all", "GET", "/admin/downloads")).json()["data"]) == 4
        unknown = "dl_unknown"
        for method, action in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("GET", "/events")):
            answers = [
                await server.ask("narrow", method, f"/admin/downloads/{id}{action}")
                for id in (unknown, secret, other)
            ]
            assert {answer.status_code for answer in answers} == {404}, (method, action)
        assert (await server.ask("narrow", "DELETE", f"/admin/downloads/{secret}")).status_code == 404
        for path, body in (
            ("/admin/downloads", {"source": "nowhere/x", "name": "secret"}),
            ("/admin/downloads", {"source": "secret"}),
            ("/api/pull", {"model": "secret", "stream": False}),
        ):
            assert (await server.ask("narrow", "POST", path, body)).status_code == 403, path
        assert (await server.ask("narrow", "GET", f"/admin/downloads/{own[0]}")).status_code == 200
        assert (await server.ask("narrow", "DELETE", f"/admin/downloads/{own[0]}")).status_code == 200

    run(tmp_path, scenario)


def test_what_the_server_begins_for_one_caller_sees_all_models():
    async def scenario() -> None:
        router, _ = made_router()
        seen = []

        async def find(name: str) -> bool:
            seen.append((name, sight().is_whole))
            return False

        router.find_missing = find
        with asking(Caller("k", models=("op*",))):
            for name in ("opera", "other"):
                with contextlib.suppress(ModelNotFound):
                    await router.resolve_or_find(name)
        assert seen == [("opera", True)], "what may not be used is not looked for"
        assert router.resolve("secret").model == "secret"

    asyncio.run(scenario())


def test_work_is_done_for_whoever_asks():
    async def scenario() -> None:
        router, _ = made_router()
        with asking(caller := Caller("k", models=("open",))):
            model = await router.model("open")
        assert model._caller is caller

    asyncio.run(scenario())


def test_a_key_without_any_model_is_told_so():
    async def scenario() -> None:
        router, _ = made_router()
        with asking(Caller("k", models=())):
            with pytest.raises(BadRequest, match=r"^this key may use no model that is served here; ask the"):
                router.only_model()
            with pytest.raises(ModelNotFound, match="'open' does not exist: this key may use no model that"):
                await router.model("open")

    asyncio.run(scenario())
