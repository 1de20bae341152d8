"""Which model a name means: the order of the rules, variants by weight, and names that cannot be used."""

import random
from collections import Counter

import pytest

from frontend.config import ConfigError, ModelSettings
from frontend.routing.names import (
    Names,
    Resolved,
    check_names,
    is_plain_name,
    models_behind,
    pick,
    resolve,
)

SERVED = ["chat", "chat:v2", "chat:poet", "embed:latest"]
ADAPTERS = {"chat:poet"}
ALIASES = Names({"gpt-4": "chat", "poet": "chat:poet", "new": "chat:v2"})


def meaning(name: str, names: Names = ALIASES, key: str = "") -> str | None:
    found = resolve(name, SERVED, ADAPTERS, names, key)
    return None if found is None else found.model


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("chat", "chat"),
        ("chat:v2", "chat:v2"),
        ("chat:latest", "chat"),
        ("chat:poet", "chat:poet"),
        ("chat:latest:poet", "chat:poet"),
        ("gpt-4", "chat"),
        ("gpt-4:latest", "chat"),
        ("gpt-4:poet", "chat:poet"),
        ("poet", "chat:poet"),
        ("poet:latest", "chat:poet"),
        ("new", "chat:v2"),
        ("embed", "embed:latest"),
        ("embed:latest", "embed:latest"),
    ],
)
def test_a_name_means_a_model(name, model):
    assert meaning(name) == model


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        ":latest",
        "latest",
        "chat:",
        "chat:v3",
        "new:poet",
        "embed:poet",
        "gpt-4:v2",
        "chat:poet:poet",
        "Chat",
    ],
)
def test_any_other_means_none(name):
    assert meaning(name) is None


def test_an_exact_name_comes_before_an_alias_and_that_before_an_adapter():
    names = Names({"chat": "chat:v2", "chat:v2": "chat", "chat:poet": "chat:v2"})
    assert meaning("chat", names) == "chat"
    assert meaning("chat:v2", names) == "chat:v2"
    assert meaning("chat:poet", names) == "chat:v2"


def test_an_adapter_comes_before_a_tag():
    found = resolve("a:latest", ["a", "a:latest"], {"a:latest"}, Names(), "")
    assert found == Resolved("a:latest")


def test_an_alias_of_an_alias_means_none():
    assert meaning("a", Names({"a": "b", "b": "chat"})) is None


def test_a_long_name_of_many_tags_takes_no_time():
    assert meaning(":".join(["latest"] * 5000)) is None


def test_variants_share_requests_by_weight():
    chance = random.Random(7)
    weights = {"a": 0.9, "b": 0.1}
    counts = Counter(pick(weights, str(chance.random())) for _ in range(10_000))
    assert counts["b"] == pytest.approx(1000, abs=100)  # 3.3 standard deviations


def test_a_user_stays_with_a_variant_and_moves_only_if_weights_make_it_necessary():
    users = [f"user-{number}" for number in range(5000)]
    before = {user: pick({"a": 1, "b": 1}, user) for user in users}
    after = {user: pick({"a": 3, "b": 1}, user) for user in users}
    assert all(before[user] == pick({"b": 1, "a": 1}, user) for user in users)
    moved = [user for user in users if before[user] != after[user]]
    assert {after[user] for user in moved} == {"a"}
    assert len(moved) == pytest.approx(1250, abs=120)


def test_only_variants_that_are_served_count():
    names = Names({"gpt-4": "test"}, {"test": {"chat": 1, "gone": 1000, "chat:v2": 0, "chat:latest": 0}})
    for name in ("test", "gpt-4"):
        assert resolve(name, SERVED, ADAPTERS, names, "any") == Resolved("chat", "test")
        assert models_behind(name, SERVED, ADAPTERS, names) == ["chat", "chat:v2", "chat"]
    assert meaning("test", Names(variants={"test": {"gone": 1}})) is None


def test_an_adapter_of_variants_is_that_of_the_one_that_was_picked():
    names = Names(variants={"test": {"chat": 1}})
    assert resolve("test:poet", SERVED, ADAPTERS, names, "") == Resolved("chat:poet", "test")


CHAT = ModelSettings(name="chat", source="a", adapters={"poet": "p.safetensors"})
OTHER = ModelSettings(name="other", source="b")


def test_names_that_can_be_used():
    check_names(
        Names({"gpt-4": "chat", "o": "other:latest", "p": "chat:poet", "t": "test"}), [CHAT, OTHER], ["test"]
    )
    check_names(Names({"t": "test"}, {"test": {"chat": 0.9, "chat:poet": 0.1}}), [CHAT])


def test_where_models_may_come_later_names_may_stand_for_those():
    names = Names({"gpt-4": "later"}, {"test": {"chat": 1, "later": 1}})
    check_names(names, [CHAT], others_may_come=True)
    with pytest.raises(ConfigError, match="is not a model that is served"):
        check_names(names, [CHAT])
    with pytest.raises(ConfigError, match="'a' is an alias itself"):
        check_names(Names({"a": "chat", "b": "a"}), [CHAT], others_may_come=True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            Names({"gpt-4": "chta"}),
            "aliases: 'gpt-4': 'chta' is not a model that is served; did you mean 'chat'?",
        ),
        (Names({"a": "b", "b": "chat"}), "aliases: 'a': 'b' is an alias itself; name the model"),
        (Names({"chat": "other"}), "aliases: 'chat' is the name of a model already; choose another name"),
        (Names({"chat:latest": "other"}), "aliases: 'chat:latest' is the name of a model already"),
        (Names({"chat:poet": "other"}), "aliases: 'chat:poet' is the name of a model already"),
        (Names({}, {"other": {"chat": 1}}), "variants: 'other' is the name of a model already"),
        (Names({"x": "chat"}, {"x": {"chat": 1}}), "variants: 'x' is the name of a model already"),
        (Names({}, {"x": {"chat": 0}}), "variants: 'x': at least one model needs a weight above 0"),
        (Names({}, {"x": {"chat": 1, "y": 1}}), "variants: 'x': 'y' is not a model that is served"),
        (Names({}, {"x": {"chat": 1}, "z": {"x": 1}}), "variants: 'z': 'x' is not a model that is served"),
    ],
)
def test_names_that_cannot_be_used_are_refused(names, message):
    with pytest.raises(ConfigError) as refused:
        check_names(names, [CHAT, OTHER])
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("models", "stored", "why"),
    [
        ([ModelSettings(name="m", source="a", adapters={"latest": "p"})], [], "because latest is a tag"),
        (
            [ModelSettings(name="m", source="a", adapters={"v2": "p"})],
            ["m:v2"],
            "'m:v2' is a version of the model",
        ),
    ],
)
def test_an_adapter_named_like_a_tag_is_refused(models, stored, why):
    with pytest.raises(
        ConfigError, match=r"^model 'm': adapters: '.*' cannot be the name of an adapter"
    ) as refused:
        check_names(Names(), models, stored)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["file:///etc/passwd", "hf:../..", "k:latest", "http://a/b", "a/../b", "a/b/c", "a:", "a:b/c"],
)
def test_addresses_paths_and_the_tag_latest_are_no_names(name):
    assert not is_plain_name(name)
    for names in (Names({name: "chat"}), Names({}, {name: {"chat": 1}})):
        with pytest.raises(ConfigError, match="cannot be a name"):
            check_names(names, [CHAT])


@pytest.mark.parametrize("name", ["gpt", "gpt-4.1", "org/model", "org/model:v2", "chat:v2", "m@1", "a+b"])
def test_what_models_are_called_is_a_name(name):
    assert is_plain_name(name)
