"""Who decides how long models stay loaded."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from frontend.access.sight import asking
from frontend.api.ollama.keeping import Keeper
from frontend.caller import Caller
from frontend.errors import Forbidden


def keeper(kept: list[tuple[str, float | None]]) -> Keeper:
    library = SimpleNamespace(keep_alive=lambda name, seconds: kept.append((name, seconds)))
    return Keeper(cast(Any, SimpleNamespace(router=None, library=library)))


@pytest.mark.parametrize(("scopes", "kept"), [({"admin", "inference"}, [("m", -1.0)]), ({"inference"}, [])])
def test_only_administrators_decide_how_long_a_model_stays(scopes, kept):
    found: list[tuple[str, float | None]] = []
    with asking(Caller("k", frozenset(scopes))):
        keeper(found).keep("m", -1.0)
    assert found == kept


def test_only_administrators_may_unload():
    async def unload() -> None:
        await keeper([]).load_or_unload("m", 0, cast(Any, None))

    with asking(Caller("k", frozenset({"inference"}))), pytest.raises(Forbidden, match="scope admin"):
        asyncio.run(unload())
