"""What must happen for a running server to follow new settings. Pure."""

from collections.abc import Callable, Collection, Mapping

import msgspec

from frontend.config import ModelSettings, Settings
from frontend.models.resolve import PreparedModel

# Settings of the server that are followed at once. All others need a restart, but `models`, which is planned.
LIVE_SETTINGS = frozenset(
    {
        "aliases",
        "allow_unauthenticated",
        "allowed_hosts",
        "allowed_origins",
        "api_key",
        "api_keys",
        "api_keys_file",
        "eviction_wait_seconds",
        "jwt_algorithms",
        "jwt_audience",
        "jwt_issuer",
        "jwt_jwks_seconds",
        "jwt_jwks_url",
        "jwt_leeway_seconds",
        "jwt_public_key_file",
        "jwt_secret",
        "load_wait_seconds",
        "log_level",
        "max_concurrent",
        "max_loaded_models",
        "max_queue",
        "memory_budget_gib",
        "requests_per_minute",
        "request_timeout_seconds",
        "serve_store",
        "tokens_per_minute",
        "total_max_concurrent",
        "total_requests_per_minute",
        "total_tokens_per_minute",
        "variants",
    }
)
# Settings of a model that its hosts do not know.
LIVE_MODEL_SETTINGS = frozenset(
    {
        "tool_format",
        "reasoning_format",
        "voice_aliases",
        "preload",
        "pinned",
        "max_waiting",
        "max_prompt_tokens",
        "max_output_tokens",
        "keep_alive_seconds",
        "remote",
        "remote_model",
        "remote_api_key_env",
    }
)
_MODEL = "model "  # before the name of one that needs a restart


class ReloadPlan(msgspec.Struct, frozen=True):
    """Names of models and of settings, each in order."""

    added: list[str] = []
    removed: list[str] = []  # they finish what they have
    replaced: list[str] = []  # the same, and are loaded anew, for which new requests wait
    adjusted: list[str] = []  # without being loaded anew
    changed: list[str] = []  # settings of the server that are followed now
    # Settings that are not, and models with replicas on other servers whose own hosts would be replaced.
    needs_restart: list[str] = []

    def visible(self, may_see: Callable[[str], bool]) -> "ReloadPlan":
        """Without the models that may not be seen."""
        return ReloadPlan(
            added=list(filter(may_see, self.added)),
            removed=list(filter(may_see, self.removed)),
            replaced=list(filter(may_see, self.replaced)),
            adjusted=list(filter(may_see, self.adjusted)),
            changed=self.changed,
            needs_restart=[
                name
                for name in self.needs_restart
                if not name.startswith(_MODEL) or may_see(name.removeprefix(_MODEL))
            ],
        )


def plan_reload(
    old: Settings,
    new: Settings,
    configured: Collection[str],
    running: Mapping[str, PreparedModel],
    wanted: Mapping[str, PreparedModel],
) -> ReloadPlan:
    """The difference between what a server does and what it is to do.

    `configured` are the names of the models that the old settings asked for; `running` are all that are
    served here, also those that were added by other means, which stay; `wanted` are those that the new
    settings ask for.
    """
    running = {name: _comparable(model) for name, model in running.items()}
    wanted = {name: _comparable(model) for name, model in wanted.items()}
    both = [name for name in wanted if name in running]
    differing_hosts = [name for name in both if _for_hosts(running[name]) != _for_hosts(wanted[name])]
    fixed = [
        name for name in differing_hosts if running[name].settings.remote or wanted[name].settings.remote
    ]
    replaced = [name for name in differing_hosts if name not in fixed]
    differing = [
        name
        for name in Settings.__struct_fields__
        if name != "models" and getattr(old, name) != getattr(new, name)
    ]
    return ReloadPlan(
        added=[name for name in wanted if name not in running],
        removed=[name for name in configured if name in running and name not in wanted],
        replaced=replaced,
        adjusted=[name for name in both if name not in differing_hosts and running[name] != wanted[name]],
        changed=[name for name in differing if name in LIVE_SETTINGS],
        needs_restart=[
            *(name for name in differing if name not in LIVE_SETTINGS),
            *(f"{_MODEL}{name}" for name in fixed),
        ],
    )


def followed(old: Settings, new: Settings) -> Settings:
    """What a server that ran with `old` settings runs with after following `new` ones."""
    changes = {name: getattr(new, name) for name in (*LIVE_SETTINGS, "models")}
    return msgspec.structs.replace(old, **changes)


def _for_hosts(model: PreparedModel) -> PreparedModel:
    """The model as its hosts know it."""
    defaults = {
        field.name: field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        for field in msgspec.structs.fields(ModelSettings)
        if field.name in LIVE_MODEL_SETTINGS
    }
    return msgspec.structs.replace(model, settings=msgspec.structs.replace(model.settings, **defaults))


def _comparable(model: PreparedModel) -> PreparedModel:
    """Without how its settings came to be what they are."""
    return msgspec.structs.replace(
        model, settings=msgspec.structs.replace(model.settings, explicit=frozenset())
    )


def in_words(plan: ReloadPlan) -> str:
    """One line for the log."""
    words = {
        "added": plan.added,
        "removed": plan.removed,
        "replaced": plan.replaced,
        "adjusted": plan.adjusted,
        "changed settings": plan.changed,
        "needs a restart": plan.needs_restart,
    }
    said = [f"{what}: {', '.join(names)}" for what, names in words.items() if names]
    return "; ".join(said) or "nothing has changed"
