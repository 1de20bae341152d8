"""Models that come into the store while the server runs."""

import asyncio
from typing import Any, cast

import pytest

from frontend.config import Settings
from frontend.errors import ModelNotFound, ServerError
from frontend.library import Library, ModelStatus
from frontend.reload.found_later import FoundLater
from frontend.routing.router import Router, RouterOptions
from tests.frontend.routing.hosts import History


def scenario(
    serve_store: bool = True, stored: tuple[str, ...] = ("m",)
) -> tuple[Router, list[str], list[float]]:
    """A router without models, the sources that were looked for, and the time. Adding "m" serves it."""
    router = Router(RouterOptions(4096, 10.0))
    library = Library(router)
    looked: list[str] = []
    now = [100.0]

    async def add(source: str, name: str | None = None) -> ModelStatus:
        looked.append(source)
        if source != "m":
            raise ModelNotFound(f"{source} cannot be served: it is damaged")
        history = History()
        history.ready_again()
        router.add(history.route)
        return library.status("m")

    library.add = add  # type: ignore[method-assign]
    settings = Settings(serve_store=serve_store)
    router.find_missing = FoundLater(settings, library, lambda _: list(stored), lambda: now[0]).find
    return router, looked, now


@pytest.mark.parametrize("name", ["m", "m:latest"])
def test_a_model_that_the_store_has_is_served_with_the_first_request(name):
    router, looked, _ = scenario()

    async def ask() -> str:
        return (await router.model(name)).name

    assert asyncio.run(ask()) == "m"
    assert looked == ["m"]


def test_the_store_is_followed_before_models_are_listed():
    router, looked, _ = scenario(stored=("m", "x"))
    follower: FoundLater = cast(Any, router.find_missing).__self__
    asyncio.run(follower.follow())
    assert (set(router.routes), set(looked)) == ({"m"}, {"m", "x"})


def test_others_are_not_and_the_store_is_not_looked_at_all_the_time():
    router, looked, now = scenario(stored=("x",))

    async def ask(name: str) -> None:
        await router.model(name)

    with pytest.raises(ModelNotFound):
        asyncio.run(ask("m"))
    with pytest.raises(ModelNotFound):
        asyncio.run(ask("x"))
    assert looked == []
    now[0] += 1.0
    with pytest.raises(ServerError, match="x cannot be served: it is damaged"):
        asyncio.run(ask("x"))
    assert looked == ["x"]


def test_a_model_that_is_being_removed_is_not_found_nor_one_whose_files_just_went():
    router, looked, _ = scenario()

    async def ask(name: str) -> None:
        with router.closed(["m"]), pytest.raises(ModelNotFound):
            await router.model(name)

    asyncio.run(ask("m"))
    assert looked == [], "it is not even looked for"

    stored = ["x"]
    router, looked, _ = scenario()
    follower: FoundLater = cast(Any, router.find_missing).__self__
    follower._names = lambda _: [stored.pop()] if stored else []

    async def ask_late() -> None:
        await router.model("x")

    with pytest.raises(ModelNotFound):
        asyncio.run(ask_late())
    assert looked == ["x"]


def test_a_server_of_some_models_serves_no_others():
    router, looked, _ = scenario(serve_store=False)

    async def ask() -> None:
        await router.model("m")

    with pytest.raises(ModelNotFound):
        asyncio.run(ask())
    assert looked == []
