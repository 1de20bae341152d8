"""Every setting with every kind of wrong value: what the error says, wherever the value was set."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import click
import msgspec
import pytest
from click.testing import CliRunner

from frontend.cli.root import root
from frontend.config import ConfigError, ModelSettings, Settings
from frontend.config_sources import Setting, load_settings, settings_of
from frontend.config_values import _base
from frontend.models.options import check_options

# What means something to us only: patterns, Python's and msgspec's names of types, and their texts.
INSIDE = re.compile(
    r"\\[AZsdwx]|\(\?|\[\^|\]\+|\]\*|\^\[|enum|Expected|regex|NoneType|msgspec|Struct|Traceback|Error\b|\bstr\b|\bint\b"
    r"|\bfloat\b|\bbool\b|\bdict\b|\bobject\b|\bNone\b|\bTrue\b|\bFalse\b|Literal|Annotated"
)
WRONG_TEXTS = [
    "",
    "x\0y",
    "a\nb",
    "q8",
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 400,
    "wörd wörd",
    "{",
    "[1",
    "=",
    "\udcff",
]
WRONG_VALUES = ["", "q8", -1, 1.5, 10**30, float("nan"), True, [], [1], {}, {"a": [1]}, {"": 1}]
MODEL_DEFAULTS = {"name", "source"}


def settings() -> Iterator[tuple[type[msgspec.Struct], Setting]]:
    for struct in (Settings, ModelSettings):
        for setting in settings_of(struct):
            if setting.name not in ("models", "source"):
                yield struct, setting


ALL = [pytest.param(struct, setting, id=setting.name) for struct, setting in settings()]


def check_message(message: str, origin: str, setting: Setting) -> None:
    assert message.startswith(f"{origin}: "), message
    assert "\n" not in message
    assert len(message) <= 3 * 80, message
    rest = message.removeprefix(origin)
    quoted = re.sub(r"'[^']*'", "", rest)  # what was written is repeated as it was
    assert not INSIDE.search(quoted), message
    assert re.search(r"must |invalid JSON|has two values", rest), message
    base, _ = _base(setting.type)
    if get_origin(base) is not None and set(get_args(base)) <= {str} and "must be one of" in message:
        assert all(word in message for word in get_args(base)), message


def outcome(**sources: Any) -> str | None:
    try:
        for model in load_settings(**sources)[0].models:
            check_options(model)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("struct", "setting"), ALL)
@pytest.mark.parametrize("text", WRONG_TEXTS, ids=lambda text: ascii(text)[:12])
def test_a_wrong_variable(struct, setting, text):
    message = outcome(models=["m"], environ={setting.variable: text})
    if message is None:
        return
    if message.startswith(
        "model "
    ):  # it is text as it should be, and the engine's options do not go together
        assert setting.name in message
        return
    check_message(message, setting.variable, setting)
    if not setting.traits.secret and text.isprintable() and len(text) < 20 and "JSON" not in message:
        assert repr(text) in message


@pytest.mark.parametrize(("struct", "setting"), ALL)
@pytest.mark.parametrize("value", WRONG_VALUES, ids=repr)
def test_a_wrong_value_in_a_file(struct, setting, value, tmp_path):
    file = tmp_path / "nacelle.toml"
    table = "[server]" if struct is Settings else "[[models]]\nsource = 'm'"
    file.write_text(f"{table}\n{setting.name} = {toml(value)}\n")
    message = outcome(config=file)
    if message is None or setting.environment_only:
        return
    if message.startswith("model "):
        assert setting.name in message
        return
    place = "[server]" if struct is Settings else "[[models]] 1"
    assert message.startswith(f"{file} ")
    check_message(message.removeprefix(f"{file} "), f"{place} {setting.name}", setting)


@pytest.mark.parametrize(("struct", "setting"), ALL)
def test_a_wrong_option(struct, setting, monkeypatch):
    monkeypatch.setattr("frontend.app.serve", lambda *_: pytest.fail("this was accepted"))
    monkeypatch.setattr("frontend.listening.why_not", lambda _: "")
    if setting.environment_only or setting.type is bool:
        return
    for text in ("", "q8 q8", "-1", "ö"):
        if outcome(models=["synthetic"], environ={setting.variable: text or "\0"}) is None:
            continue  # any text will do
        result = CliRunner().invoke(
            root, ["serve", "synthetic", f"{setting.option}={text}"], prog_name="nacelle"
        )
        assert result.exit_code == 2, (setting.option, text, result.output)
        error, *more = result.stderr.splitlines()
        assert not more
        if not error.startswith("Error: model "):
            check_message(error.removeprefix("Error: "), setting.option, setting)


@pytest.mark.parametrize(("struct", "setting"), ALL)
def test_every_wrong_type_is_found(struct, setting, tmp_path):
    """The tests above look only at what is refused; this is refused for certain."""
    file = tmp_path / "nacelle.toml"
    table = "[server]" if struct is Settings else "[[models]]\nsource = 'm'"
    if setting.environment_only:
        return
    file.write_text(f"{table}\n{setting.name} = [[1]]\n")
    message = outcome(config=file)
    assert message is not None
    assert "not [[1]]" in message or setting.traits.secret


@pytest.mark.parametrize(("struct", "setting"), ALL)
def test_an_option_with_one_value_is_given_once(struct, setting, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # an empty store: there is nothing to serve
    if setting.environment_only:
        return
    option = next(
        parameter
        for parameter in serve_command().params
        if isinstance(parameter, click.Option) and parameter.name == setting.name
    )
    words = [setting.option] if setting.type is bool else [setting.option, "a=1"]
    result = CliRunner().invoke(root, ["serve", *words, *words], prog_name="nacelle")
    repeated = "is given 2 times; give it once" in result.stderr
    assert repeated is not option.multiple
    assert result.exit_code == 2


def serve_command() -> click.Command:
    from frontend.cli.serve import serve

    assert isinstance(serve, click.Command)
    return serve


def toml(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
