"""A registry on a real socket: up, unchanged, broken, down; and what its document may not say."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from frontend.config import ConfigError
from frontend.errors import Conflict
from frontend.remote.registry import Registry, http_fetch, kept_file
from frontend.remote.registry_document import MAX_MODELS, read_document
from tests.frontend.remote.servers import serving

SYN = {"name": "syn", "source": "synthetic:50"}
FAR = {"name": "far", "remote": "http://a.example/v1", "remote_model": "big"}


def document(*models):
    return json.dumps({"models": list(models)}).encode()


class Served:
    def __init__(self, *taken):
        self.names, self.taken, self.calls = [], set(taken), []

    async def add(self, model):
        self.calls.append(f"+{model.name}")
        if model.name in self.taken:
            raise Conflict("it is served already")
        self.names.append(model.name)

    async def remove(self, name):
        self.calls.append(f"-{name}")
        self.names.remove(name)

    def registry_state(self, up, models, at):
        self.state = (up, models, at is not None)


class Registrar:
    """Serves `body` with an ETag, or answers with `status`."""

    def __init__(self):
        self.body, self.status, self.answers = document(), 200, []

    async def answer(self, request):
        etag = f'"{hash(self.body)}"'
        status = 304 if self.status == 200 and request.headers.get("If-None-Match") == etag else self.status
        self.answers.append(status)
        if status != 200:
            return web.Response(status=status)
        return web.Response(body=self.body, headers={"ETag": etag})


def registry_at(url: str, served: Served, folder: Path) -> Registry:
    return Registry(url, 1.0, http_fetch(url, None), served, kept_file(folder, url), served)


def test_models_appear_change_and_vanish_with_the_document(tmp_path):
    async def scenario():
        registrar, served = Registrar(), Served()
        registrar.body = document(SYN, FAR)
        async with serving(registrar.answer) as url:
            registry = registry_at(url, served, tmp_path)
            await registry.poll()
            assert served.names == ["syn", "far"]
            await registry.poll()
            assert registrar.answers == [200, 304]
            assert len(served.calls) == 2
            registrar.body = document({**FAR, "remote_model": "other"}, {**SYN, "name": "new"})
            await registry.poll()
            assert served.calls[2:] == ["-syn", "-far", "+far", "+new"]
            assert served.state == (True, 2, True)

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", document({"name": "x"}), document(SYN, SYN)])
def test_a_bad_document_changes_nothing(body, tmp_path):
    async def scenario():
        registrar, served = Registrar(), Served()
        registrar.body = document(SYN)
        async with serving(registrar.answer) as url:
            registry = registry_at(url, served, tmp_path)
            await registry.poll()
            registrar.body = body
            await registry.poll()
            assert (served.calls, served.state) == (["+syn"], (False, 1, True))
            registrar.body = document(SYN)
            await registry.poll()
            assert (served.calls, served.state) == (["+syn"], (True, 1, True))

    asyncio.run(scenario())


def test_the_last_document_counts_while_the_registry_is_down_and_after_a_restart(tmp_path):
    async def scenario():
        registrar, served = Registrar(), Served()
        registrar.body = document(SYN)
        async with serving(registrar.answer) as url:
            registry = registry_at(url, served, tmp_path)
            await registry.poll()
            registrar.status = 500
            await registry.poll()
            assert (served.names, served.state) == (["syn"], (False, 1, True))
        await registry.poll()
        assert (served.names, served.state) == (["syn"], (False, 1, True))
        assert [path.name for path in (tmp_path / "registry").iterdir()] == [kept_file(tmp_path, url).name]

        later = Served()
        running = asyncio.create_task(registry_at(url, later, tmp_path).run())
        while not hasattr(later, "state"):
            await asyncio.sleep(0.01)
        running.cancel()
        assert (later.names, later.state) == (["syn"], (False, 1, False))

    asyncio.run(scenario())


def test_a_kept_document_that_is_damaged_is_ignored(tmp_path):
    async def scenario():
        registrar, served = Registrar(), Served()
        registrar.body = document(SYN)
        async with serving(registrar.answer) as url:
            kept_file(tmp_path, url).parent.mkdir()
            kept_file(tmp_path, url).write_bytes(b"not it")
            running = asyncio.create_task(registry_at(url, served, tmp_path).run())
            while not served.names:
                await asyncio.sleep(0.01)
            running.cancel()
            kept = msgspec.msgpack.decode(kept_file(tmp_path, url).read_bytes())
            assert kept["body"] == registrar.body

    asyncio.run(scenario())


def test_a_model_that_cannot_be_added_is_tried_again_and_holds_up_no_other(tmp_path):
    async def scenario():
        registrar, served = Registrar(), Served("syn")
        registrar.body = document(SYN, FAR)
        async with serving(registrar.answer) as url:
            registry = registry_at(url, served, tmp_path)
            await registry.poll()
            assert served.names == ["far"]
            served.taken.clear()
            await registry.poll()
            assert served.names == ["far", "syn"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "x", "source": "/etc/passwd"}, "source: must name a model"),
        ({"name": "x", "source": "../x"}, "source: must name a model"),
        ({"name": "x", "source": "~/x"}, "source: must name a model"),
        ({"name": "x", "source": "x.gguf"}, "source: must name a model"),
        ({"name": "x", "source": "http://a/x"}, "source: must name a model"),
        ({**SYN, "chat_template": "x"}, "'chat_template' cannot be set by a registry"),
        ({**SYN, "properties": {"CACHE_DIR": "/"}}, "'properties' cannot be set"),
        ({**SYN, "adapters": {}}, "'adapters' cannot be set"),
        ({**SYN, "draft_model": "x"}, "'draft_model' cannot be set"),
        ({**SYN, "nonsense": 1}, "'nonsense' cannot be set"),
        ({"source": "smollm2"}, "name is missing"),
        ({"name": "x"}, "source is missing"),
        ({**FAR, "remote": "file:///etc/passwd"}, "must be http://HOST"),
        ({**FAR, "remote_api_key_env": "AWS_SECRET_ACCESS_KEY"}, "must begin with REMOTE_KEY_"),
        ({**SYN, "replicas": 0}, "replicas"),
    ],
)
def test_a_document_names_neither_files_nor_secrets_of_this_machine(model, words):
    with pytest.raises(ConfigError, match=words):
        read_document(document(SYN | {"name": "first"}, model))


def test_a_document_is_bounded():
    with pytest.raises(ConfigError, match="more than"):
        read_document(document(*({**SYN, "name": f"m{n}"} for n in range(MAX_MODELS + 1))))


def test_models_of_a_registry_are_loaded_on_demand_unless_it_says_otherwise():
    models = read_document(document(SYN, {**SYN, "name": "b", "preload": True}))
    assert [model.preload for model in models] == [False, True]
