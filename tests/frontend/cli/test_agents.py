"""The configuration files of agents: what is written, and that nothing else in them changes."""

import json
import tomllib

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from frontend.cli.agents.jsonc import UnreadableJson, read_jsonc, value_at, with_value
from frontend.cli.agents.known import AGENTS, Target
from frontend.cli.root import root

TARGET = Target("http://127.0.0.1:8000/v1", "smollm2", 8192, has_key=False)
KEYED = TARGET._replace(has_key=True)

COMMENTED = """\
// my settings
{
    "theme": "dark", // "quoted" in a comment
    /* "provider": {} */
    "provider": {
        "other": { "url": "http://a//b", },
    },
}
"""


def test_a_value_is_added_and_everything_else_stays_as_it_is():
    text = with_value(COMMENTED, ["provider", "nacelle"], {"a": 1})
    added = '\n        "nacelle": {\n          "a": 1\n        },'
    assert text == COMMENTED.replace('"provider": {\n        "o', f'"provider": {{{added}\n        "o')
    assert read_jsonc(text)["provider"] == {"nacelle": {"a": 1}, "other": {"url": "http://a//b"}}


def test_a_value_is_replaced_in_its_place():
    once = with_value(COMMENTED, ["provider", "nacelle"], {"a": 1})
    twice = with_value(once, ["provider", "nacelle"], {"b": 2})
    assert twice == once.replace('"a": 1', '"b": 2')


@pytest.mark.parametrize("text", ["", "{}", "{ }", "// nothing\n", '{"a":1}', "{\n}\n"])
def test_objects_on_the_way_are_created(text):
    changed = with_value(text, ["x", "y", "z"], [1])
    assert value_at(read_jsonc(changed), ["x", "y", "z"]) == [1]


@pytest.mark.parametrize("text", ["[1]", "{", '{"a" 1}', "nonsense", '{"a": }'])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(UnreadableJson):
        with_value(text, ["a"], 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=4), st.text(), st.text(), st.sampled_from([None, 1, 4])
)
def test_any_json_keeps_its_other_values(document, first, second, indent):
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    after = json.loads(with_value(text, [first, second], "new"))
    inner = document.get(first)
    assert after.pop(first) == {**(inner if isinstance(inner, dict) else {}), second: "new"}
    document.pop(first, None)
    assert after == document


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("target", [TARGET, KEYED, TARGET._replace(context_length=None)])
def test_every_agent_gets_address_and_model_and_no_key(name, target):
    agent = AGENTS[name]
    text = agent.text("", target)
    assert f"http://127.0.0.1:8000{'' if name == 'claude' else '/v1'}" in text
    start = agent.start(agent.file({}), target)
    assert target.model in text + " ".join([*start.command, *start.variables.values()])
    named = "NACELLE_API_KEY" in text + " ".join(start.variables.values()) or name == "zed"
    assert named or not target.has_key
    assert agent.text(text, target) == text  # again changes nothing


def test_codex_gets_a_profile_that_speaks_responses():
    profile = tomllib.loads(AGENTS["codex"].text("", KEYED))
    assert profile["model_provider"] == "nacelle"
    assert profile["model_providers"]["nacelle"] == {
        "name": "Nacelle",
        "base_url": "http://127.0.0.1:8000/v1",
        "env_key": "NACELLE_API_KEY",
        "wire_api": "responses",
    }


def test_claude_code_gets_settings_of_its_own_for_all_its_models():
    agent = AGENTS["claude"]
    variables = json.loads(agent.text("", TARGET))["env"]
    assert variables["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:8000"  # it adds /v1 itself
    assert {value for name, value in variables.items() if name.endswith("_MODEL")} == {"smollm2"}
    assert variables["ANTHROPIC_AUTH_TOKEN"] == "unused"  # or it asks for a login
    file = agent.file({"XDG_CONFIG_HOME": "/c"})
    assert agent.start(file, TARGET) == (["claude", "--settings", "/c/nacelle/claude.json"], {})
    assert "ANTHROPIC_AUTH_TOKEN" not in json.loads(agent.text("", KEYED))["env"]
    assert agent.start(file, KEYED).variables == {"ANTHROPIC_AUTH_TOKEN": "$NACELLE_API_KEY"}
    kept = json.loads(agent.text('{"permissions": {"allow": ["Read"]}}', TARGET))
    assert kept["permissions"] == {"allow": ["Read"]}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("opencode", ["provider", "nacelle", "models"]),
        ("crush", ["providers", "nacelle", "models"]),
        ("zed", ["language_models", "openai_compatible", "Nacelle", "available_models"]),
    ],
)
def test_a_second_model_joins_the_first(name, path):
    first = AGENTS[name].text("", TARGET)
    both = AGENTS[name].text(first, TARGET._replace(model="other"))
    assert len(value_at(read_jsonc(both), path)) == 2


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, and an address at which nobody answers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CODEX_HOME", raising=False)
    monkeypatch.setenv("NACELLE_URL", "http://127.0.0.1:9")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(root, ["launch", *arguments], prog_name="nacelle")


def test_a_file_is_merged_and_its_old_state_kept(home):
    file = home / "config" / "zed" / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text(COMMENTED)
    file.chmod(0o600)
    result = run("zed", "--model", "smollm2", "--yes")
    assert result.exit_code == 0, result.output
    assert '+    "language_models": {' in result.stdout
    assert "// my settings" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    [backup] = file.parent.glob("*.bak")
    assert backup.read_text() == COMMENTED
    assert "needs no change" in run("zed", "--model", "smollm2", "--yes").stdout


def test_a_linked_file_stays_a_link(home):
    real = home / "dotfiles.json"
    real.write_text("{}")
    link = home / "config" / "opencode" / "opencode.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert run("opencode", "--model", "m", "--yes").exit_code == 0
    assert link.is_symlink()
    assert "nacelle" in real.read_text()


def test_nothing_is_written_unasked(home):
    result = run("codex", "--model", "m")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "Error: nothing was written; pass --yes to write, or --print",
    )
    printed = run("codex", "--model", "m", "--print")
    assert 'model = "m"' in printed.stdout
    assert list(home.iterdir()) == []


def test_a_file_that_cannot_be_read_is_left_alone(home):
    file = home / "config" / "crush" / "crush.json"
    file.parent.mkdir(parents=True)
    file.write_text("{ broken")
    result = run("crush", "--model", "m", "--yes")
    assert result.exit_code == 1
    assert f"Error: cannot read {file}" in result.stderr
    assert file.read_text() == "{ broken"


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["codx", "--model", "m"], 2, "no agent 'codx' is known; did you mean 'codex'?"),
        (["codex"], 1, "no server answers at http://127.0.0.1:9; check --url"),
    ],
)
def test_what_cannot_be_configured_is_said(arguments, status, complaint):
    result = run(*arguments)
    assert result.exit_code == status
    assert complaint in result.stderr


def test_without_an_agent_all_are_listed():
    lines = run().stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["AGENT", *AGENTS]


def test_an_agent_that_is_missing_is_not_started(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("frontend.cli.launch.ensure_served", lambda _client, model, _config: model)
    result = run("goose", "--model", "m", "--yes", "--exec")
    assert result.exit_code == 1
    assert "goose is not installed; install it: " in result.stderr
