"""What a reload changes: models by what their hosts know, settings by whether they can be followed."""

from typing import Any

import msgspec

from frontend.config import ModelSettings, Settings
from frontend.models.resolve import PreparedModel
from frontend.reload.plan import (
    LIVE_MODEL_SETTINGS,
    LIVE_SETTINGS,
    ReloadPlan,
    followed,
    in_words,
    plan_reload,
)

OLD = Settings()


def model(name: str, path: str = "/ir", **settings: Any) -> PreparedModel:
    given = ModelSettings(name=name, source=name)
    return PreparedModel(settings=msgspec.structs.replace(given, **settings), engine="text", path=path)


def plan(running: list[PreparedModel], wanted: list[PreparedModel], new: Settings = OLD) -> ReloadPlan:
    named = {one.settings.name: one for one in running}
    return plan_reload(OLD, new, list(named), named, {one.settings.name: one for one in wanted})


def test_equal_settings_change_nothing():
    assert plan([model("a")], [model("a")]) == ReloadPlan()
    assert in_words(ReloadPlan()) == "nothing has changed"


def test_models_are_added_and_removed():
    assert plan([model("a"), model("b")], [model("b"), model("c")]) == ReloadPlan(added=["c"], removed=["a"])


def test_a_model_is_replaced_if_its_hosts_must_know_of_the_change():
    for changed in (model("a", device="GPU"), model("a", replicas=2), model("a", path="/new revision")):
        assert plan([model("a")], [changed]) == ReloadPlan(replaced=["a"])


def test_it_is_adjusted_if_they_need_not():
    for setting in LIVE_MODEL_SETTINGS:
        value: Any = {"voice_aliases": {"x": "y"}, "keep_alive_seconds": 5.0}.get(setting, "else")
        assert plan([model("a")], [model("a", **{setting: value})]) == ReloadPlan(adjusted=["a"]), setting
    assert plan([model("a")], [model("a", tool_format="hermes", threads=2)]) == ReloadPlan(replaced=["a"])


def test_replicas_elsewhere_come_and_go_and_those_here_stay():
    before, after = model("a", remote=["http://b/v1"]), model("a", remote=["http://c/v1"])
    for running, wanted in ((before, after), (before, model("a")), (model("a"), after)):
        assert plan([running], [wanted]) == ReloadPlan(adjusted=["a"])


def test_another_change_of_the_hosts_of_a_model_with_replicas_elsewhere_needs_a_restart():
    before, after = model("a", remote=["http://b/v1"]), model("a", remote=["http://b/v1"], threads=2)
    assert plan([before], [after]) == ReloadPlan(needs_restart=["model a"])


def test_what_was_added_by_other_means_stays_and_gives_way_to_a_model_of_its_name():
    running = {"a": model("a"), "pulled": model("pulled")}
    kept = plan_reload(OLD, OLD, ["a"], running, {"a": model("a")})
    assert kept == ReloadPlan()
    wanted = {"a": model("a"), "pulled": model("pulled", threads=2)}
    assert plan_reload(OLD, OLD, ["a"], running, wanted) == ReloadPlan(replaced=["pulled"])


def test_a_model_that_was_removed_by_other_means_comes_back():
    assert plan_reload(OLD, OLD, ["a"], {}, {"a": model("a")}) == ReloadPlan(added=["a"])


def test_every_setting_is_either_followed_or_reported():
    for setting in Settings.__struct_fields__:
        if setting == "models":
            continue
        new = msgspec.structs.replace(OLD, **{setting: "something else"})
        changed = plan([], [], new)
        followed = [setting] if setting in LIVE_SETTINGS else []
        assert (changed.changed, changed.needs_restart) == (followed, [] if followed else [setting])
    assert set(Settings.__struct_fields__) >= LIVE_SETTINGS
    assert set(ModelSettings.__struct_fields__) >= LIVE_MODEL_SETTINGS


def test_what_needs_a_restart_is_reported_until_there_is_one():
    new = Settings(port=1, max_queue=1)
    after = followed(OLD, new)
    assert (after.port, after.max_queue) == (OLD.port, 1)
    assert plan_reload(after, new, [], {}, {}) == ReloadPlan(needs_restart=["port"])


def test_a_plan_in_one_line():
    shown = in_words(ReloadPlan(added=["a", "b"], replaced=["c"], needs_restart=["port"]))
    assert shown == "added: a, b; replaced: c; needs a restart: port"


def test_a_plan_is_shown_without_the_models_that_may_not_be_seen():
    plan = ReloadPlan(["a", "b"], ["a"], ["b"], ["a", "b"], ["port"], ["tls_key", "model a", "model b"])
    seen = ReloadPlan(["b"], [], ["b"], ["b"], ["port"], ["tls_key", "model b"])
    assert plan.visible(lambda name: name == "b") == seen
    assert plan.visible(lambda _: True) == plan
