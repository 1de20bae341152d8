"""Administrators with a list of models see the deaths of those models' hosts alone."""

import asyncio
from types import SimpleNamespace

import falcon.asgi
import falcon.testing
import msgspec

from frontend.access.sight import asking
from frontend.api import errors
from frontend.api.admin import incidents
from frontend.caller import ANYBODY, Caller


class Died(msgspec.Struct):
    id: str
    model: str


class Kept(dict[str, Died]):
    def __iter__(self):
        return iter(self.values())


def test_deaths_of_other_models_do_not_exist():
    async def scenario():
        app = falcon.asgi.App()
        errors.install(app)
        kept = Kept({name: Died(name, name) for name in ("mine", "other")})
        incidents.install(app, SimpleNamespace(control=SimpleNamespace(incidents=kept)))  # type: ignore[arg-type]
        async with falcon.testing.ASGIConductor(app) as client:
            for caller, seen in ((Caller("a", models=("mine",)), ["mine"]), (ANYBODY, ["mine", "other"])):
                with asking(caller):
                    listed = (await client.simulate_get("/admin/incidents")).json["incidents"]
                    assert [each["id"] for each in listed] == seen
                    one = await client.simulate_get("/admin/incidents/other")
                    assert one.status_code == (200 if "other" in seen else 404)

    asyncio.run(scenario())
