"""Models that come into the store while the server runs."""

import asyncio
from typing import Any, cast

import pytest

from frontend.config import ModelSettings, Settings
from frontend.errors import ModelNotFound, RequestTimeout, ServerError
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

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    find = FoundLater(settings, library, lambda _: list(stored), lambda: now[0], sleep=sleep).find
    router.find_missing = find
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


def test_others_are_not_and_what_cannot_be_served_says_why():
    router, looked, now = scenario(stored=("x",))

    async def ask(name: str) -> None:
        await router.model(name)

    with pytest.raises(ModelNotFound):
        asyncio.run(ask("m"))
    assert looked == []
    now[0] += 1.0
    with pytest.raises(ServerError, match="x cannot be served: it is damaged"):
        asyncio.run(ask("x"))
    assert looked == ["x"]


def test_a_model_that_came_just_after_a_miss_is_found_and_many_misses_read_the_store_seldom():
    router, _, now = scenario()
    follower = follower_of(router)
    stored: list[str] = []
    readings: list[float] = []

    def names(_: Settings) -> list[str]:
        readings.append(now[0])
        return list(stored)

    follower._names = names

    async def scene() -> str:
        misses = [router.model(f"missing{number}") for number in range(20)]
        errors = await asyncio.gather(*misses, return_exceptions=True)
        assert {type(error) for error in errors} == {ModelNotFound}
        assert readings == [100.0], "they share one reading"
        stored.append("m")
        found = await asyncio.gather(router.model("m"), router.model("n"), return_exceptions=True)
        assert isinstance(found[1], ModelNotFound)
        return found[0].name if not isinstance(found[0], BaseException) else repr(found[0])

    assert asyncio.run(scene()) == "m"
    assert readings == [100.0, pytest.approx(100.2)], "the second one waited until it was due"


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


def follower_of(router: Router) -> FoundLater:
    return cast(FoundLater, cast(Any, router.find_missing).__self__)


def test_all_who_miss_a_model_share_one_search_also_after_a_listing():
    router, looked, _ = scenario(stored=("x",))
    follower = follower_of(router)
    asyncio.run(follower.follow())  # which does not use up the look of a miss
    looked.clear()
    follower._names = lambda _: ["m"]

    async def ask() -> list[str]:
        return [model.name for model in await asyncio.gather(*(router.model("m") for _ in range(3)))]

    assert asyncio.run(ask()) == ["m"] * 3
    assert looked == ["m"]


def test_what_cannot_be_served_is_tried_again_only_after_it_has_changed():
    router, looked, now = scenario(stored=("x",))
    follower = follower_of(router)
    version = [1]
    follower._version = lambda *_: version[0]
    for _ in range(2):
        asyncio.run(follower.follow())
        now[0] += 1.0
    assert looked == ["x"]
    version[0] = 2
    asyncio.run(follower.follow())
    assert looked == ["x", "x"]


def test_a_model_of_the_settings_is_not_served_twice():
    router, looked, _ = scenario(stored=("m",))
    follower = follower_of(router)
    follower.settings = Settings(serve_store=True, models=[ModelSettings(name="mine", source="m")])
    asyncio.run(follower.follow())
    assert looked == []


def test_listings_at_the_same_time_remove_a_model_that_is_gone_once():
    router, _, _ = scenario(stored=())
    library = follower_of(router)._library
    removed: list[str] = []

    async def remove(name: str) -> None:
        removed.append(name)
        await asyncio.sleep(0)
        raise ModelNotFound("it is gone")

    library.gone = lambda: ["m"]  # type: ignore[method-assign]
    library.remove = remove  # type: ignore[method-assign]

    async def both() -> None:
        await asyncio.gather(follower_of(router).follow(), follower_of(router).follow())

    asyncio.run(both())
    assert removed == ["m"]


def test_a_search_does_not_hold_a_request_for_ever():
    router = Router(RouterOptions(4096, 0.01))

    async def never(_name: str) -> bool:
        await asyncio.Event().wait()
        return True

    router.find_missing = never
    with pytest.raises(RequestTimeout):
        asyncio.run(router.model("m"))
