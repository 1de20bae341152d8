"""Which model a requested name means. Pure.

A name is, in this order: the exact name of a model, an alias or a set of variants, MODEL:ADAPTER, or a tag.
Versions are models whose names have a tag (`chat:v2`); `chat:latest` and `chat` are the same name.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping

import msgspec

from frontend.config import ConfigError, ModelSettings, Settings
from frontend.config_values import suggestion
from frontend.models.options import adapted_name
from frontend.shortened import quoted

LATEST = ":latest"
_POINTS = 2**64
_LISTED = 8  # models in an error


class Names(msgspec.Struct, frozen=True):
    """Names that stand for models."""

    aliases: dict[str, str] = {}
    variants: dict[str, dict[str, float]] = {}  # name → model → weight

    @classmethod
    def of(cls, settings: Settings) -> "Names":
        return cls(settings.aliases, settings.variants)

    @property
    def all(self) -> list[str]:
        return [*self.aliases, *self.variants]

    def aliases_of(self, model: str) -> list[str]:
        """The aliases that name this model."""
        return [alias for alias, target in self.aliases.items() if target in (model, model + LATEST)]


class Resolved(msgspec.Struct, frozen=True):
    """`model` is served. `variants` is the name of the set from which it was picked."""

    model: str
    variants: str | None = None


def resolve(
    name: str, served: Collection[str], adapters: Collection[str], names: Names, key: str
) -> Resolved | None:
    """The served model that `name` means; None: there is none.

    `adapters` are the served names that are MODEL:ADAPTER. `key` decides which variant is picked.
    """
    if found := _as_model_or_alias(name, served, adapters, names, key):
        return found
    if name in adapters:
        return Resolved(name)
    base, _, tail = name.rpartition(":")
    owner = _as_model_or_alias(base.removesuffix(LATEST), served, adapters, names, key) if base else None
    if owner is not None and f"{owner.model}:{tail}" in adapters:
        return Resolved(f"{owner.model}:{tail}", owner.variants)
    if owner is not None and f":{tail}" == LATEST:
        return owner
    return Resolved(name + LATEST) if name + LATEST in served else None


def _as_model_or_alias(
    name: str, served: Collection[str], adapters: Collection[str], names: Names, key: str
) -> Resolved | None:
    if name in served and name not in adapters:
        return Resolved(name)
    if name in names.aliases:  # of an alias there is none
        without = Names(variants=names.variants)
        return resolve(names.aliases[name], served, adapters, without, key)
    if name in names.variants:
        plain = Names()
        found = {
            model.model: weight
            for member, weight in names.variants[name].items()
            if weight and (model := resolve(member, served, adapters, plain, key)) is not None
        }
        return Resolved(pick(found, key), name) if found else None
    return None


def models_behind(name: str, served: Collection[str], adapters: Collection[str], names: Names) -> list[str]:
    """The served models that an alias or a set of variants may mean."""
    target = names.aliases.get(name, name)
    members = names.variants.get(target, [target])
    found = [resolve(member, served, adapters, Names(), "") for member in members]
    return [resolved.model for resolved in found if resolved is not None]


def pick(weights: Mapping[str, float], key: str) -> str:
    """One of the names, each with a probability in proportion to its weight; the same one for the same key.

    If a weight changes, only the keys that must move do (weighted rendezvous hashing).
    """

    def arrival(name: str) -> float:  # the first of exponential arrivals whose rates are the weights
        digest = hashlib.blake2b(f"{name}\0{key}".encode(errors="replace"), digest_size=8).digest()
        return -math.log((int.from_bytes(digest) + 1) / (_POINTS + 1)) / weights[name]

    return min(weights, key=arrival)


def adapters_in(models: Iterable[ModelSettings]) -> set[str]:
    """The names MODEL:ADAPTER that the models' settings put into the API."""
    return {adapted_name(model, adapter) for model in models for adapter in model.adapters}


def check_names(
    names: Names,
    models: Iterable[ModelSettings],
    stored: Collection[str] = (),
    *,
    others_may_come: bool = False,
) -> None:
    """Raise ConfigError for an alias or a set of variants that could not be used.

    `stored` are the names of models that are served although no settings name them. If `others_may_come`, a
    model that is not served yet is no error.
    """
    models = list(models)
    adapters = adapters_in(models)
    served = {*(model.name for model in models), *stored}
    _refuse_ambiguous_adapters(models, served)
    for alias in names.aliases:
        targets = {names.aliases[alias]} - names.aliases.keys() if others_may_come else set()
        check_alias(alias, served | adapters | (targets - {alias}), adapters, names)
    for name, members in names.variants.items():
        where = f"variants: {quoted(name)}"
        _refuse_taken(where, name, served | adapters | names.aliases.keys())
        if not any(members.values()):
            raise ConfigError(f"{where}: at least one model needs a weight above 0")
        for member in members:
            known = others_may_come or resolve(member, served | adapters, adapters, Names(), "") is not None
            if not known:
                raise _unknown(where, member, served | adapters)
    for name in (*names.aliases, *names.variants):
        if not is_plain_name(name):
            where = "aliases" if name in names.aliases else "variants"
            raise ConfigError(f"{where}: {not_plain(name)}")


def check_alias(alias: str, served: Collection[str], adapters: Collection[str], names: Names) -> None:
    """Raise ConfigError if one of the aliases could not be used."""
    where, target = f"aliases: {quoted(alias)}", names.aliases[alias]
    _refuse_taken(where, alias, served)
    if target in names.aliases:
        raise ConfigError(f"{where}: {quoted(target)} is an alias itself; name the model")
    if resolve(target, served, adapters, Names(variants=names.variants), "") is None:
        raise _unknown(where, target, {*served, *names.variants})


def is_plain_name(name: str) -> bool:
    """Whether a name of the right characters is neither an address, a path nor one with the tag latest."""
    parts = name.split(":")[0].split("/")
    is_path = len(parts) > 2 or not all(part.strip(".") for part in parts)
    has_odd_tag = ":" in name and not all(tag.strip("./") and "/" not in tag for tag in name.split(":")[1:])
    return not (is_path or has_odd_tag or name.endswith(LATEST))


def not_plain(name: str) -> str:
    """The error of a name that is not plain."""
    return (
        f"{quoted(name)} cannot be a name: it reads as an address, a path or the tag latest; choose another"
    )


def _refuse_ambiguous_adapters(models: Iterable[ModelSettings], served: Collection[str]) -> None:
    for model in models:
        for adapter in model.adapters:
            name = adapted_name(model, adapter)
            if f":{adapter}" == LATEST:
                why = "latest is a tag"
            elif name in served:
                why = f"{quoted(name)} is a version of the model"
            else:
                continue
            raise ConfigError(
                f"model {model.name!r}: adapters: {quoted(adapter)} cannot be the name of an adapter, "
                f"because {why}; choose another name"
            )


def _refuse_taken(where: str, name: str, taken: Collection[str]) -> None:
    if name in taken or name.removesuffix(LATEST) in taken:
        raise ConfigError(f"{where} is the name of a model already; choose another name")


def _unknown(where: str, name: str, known: Iterable[str]) -> ConfigError:
    names = sorted(known)
    more = ", …" if len(names) > _LISTED else ""
    hint = suggestion(name, names) or f"; there are {', '.join(names[:_LISTED]) or 'none'}{more}"
    return ConfigError(f"{where}: {quoted(name)} is not a model that is served{hint}")
