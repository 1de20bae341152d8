"""POST /admin/alias, also as /admin/models/alias: switches another name of a model at once."""

import falcon.asgi
import msgspec

from frontend.access.sight import sight
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.generating import respond_json
from frontend.api.local_paths import refuse_local_path
from frontend.api.openapi.operation import CHANGES, describes
from frontend.api.schema.common import ModelName
from frontend.config import ConfigError, Name
from frontend.errors import BadRequest, Forbidden, ModelNotFound
from frontend.library import Library
from frontend.routing.names import Names, adapters_in, check_alias, is_plain_name, not_plain
from frontend.routing.router import Router
from frontend.shortened import quoted


class AliasRequest(msgspec.Struct, forbid_unknown_fields=True):
    alias: Name
    model: ModelName | None  # null: the alias is removed


class AliasChanged(msgspec.Struct):
    alias: str
    model: str | None
    aliases: dict[str, str]  # all that there are now


_alias = msgspec.json.Decoder(AliasRequest)


class Aliases:
    def __init__(self, router: Router, library: Library, max_body_bytes: int) -> None:
        self._router = router
        self._library = library
        self._max_body_bytes = max_body_bytes

    @describes(
        "Set or remove another name of a model",
        body=AliasRequest,
        answer=AliasChanged,
        errors=CHANGES,
        example={"alias": "default", "model": "smollm2"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Until the next reload or start, which go by the settings."""
        body, _ = await read_json(request, self._max_body_bytes, _alias)
        if body.model is not None:
            refuse_local_path(body.model, "model")
        before = self._router.models_behind(body.alias)
        self._router.names = switched(self._router, body.alias, body.model)
        for model in {*before, *self._router.models_behind(body.alias)}:
            self._library.announce(model)
        visible = set(self._router.other_names)
        aliases = self._router.names.aliases
        if not sight().is_whole:
            aliases = {name: model for name, model in aliases.items() if name in visible}
        respond_json(response, AliasChanged(body.alias, body.model, aliases))


def switched(router: Router, alias: str, model: str | None) -> Names:
    """The names with an alias changed. Raises BadRequest, ModelNotFound, or Forbidden for another's alias."""
    if not sight().caller.may_use(alias):
        raise Forbidden(f"this API key may not change {quoted(alias)}, which is not in its list of models")
    aliases = dict(router.names.aliases)
    if model is None:
        if aliases.pop(alias, None) is None:
            raise ModelNotFound(f"there is no alias {quoted(alias)}", "alias")
        return Names(aliases, router.names.variants)
    if not is_plain_name(alias):
        raise BadRequest(f"alias: {not_plain(alias)}", "alias")
    aliases[alias] = model
    names = Names(aliases, router.names.variants)
    adapters = adapters_in(route.settings for route in router.routes.values()) & router.routes.keys()
    try:
        visible = {route.name for route in router.visible_routes}
        seen = _seen(router, names, alias)
        check_alias(alias, visible | seen.variants.keys(), adapters & visible, seen)
    except ConfigError as error:
        raise BadRequest(str(error), "model") from None
    return names


def _seen(router: Router, names: Names, alias: str) -> Names:
    """Those of the names that whoever asks may know."""
    if sight().is_whole:
        return names
    visible = {*router.other_names, alias}
    return Names(
        {name: model for name, model in names.aliases.items() if name in visible},
        {name: members for name, members in names.variants.items() if name in visible},
    )


def install(app: App, server: Server) -> None:
    aliases = Aliases(server.router, server.library, server.max_body_bytes)
    app.add_route("/admin/models/alias", aliases)
    app.add_route("/admin/alias", aliases)
