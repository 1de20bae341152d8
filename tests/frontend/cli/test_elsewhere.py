"""The words of other tools are answered with ours."""

import pytest
from click.testing import CliRunner

from frontend.cli.elsewhere import _ANSWERS, answer_command
from frontend.cli.root import SUBCOMMANDS, root
from frontend.config import ModelSettings, Settings
from frontend.config_names import _NONE, _OF_A_REQUEST, guess
from frontend.config_sources import settings_of


def error(line: str) -> str:
    result = CliRunner().invoke(root, line.split(), prog_name="nacelle")
    assert result.exit_code == 2
    return result.stderr


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("models", "no such command 'models'; write nacelle list"),
        ("chat", "no such command 'chat'; write nacelle run MODEL"),
        ("start", "no such command 'start'; write nacelle serve MODEL"),
        ("up", "no such command 'up'; write nacelle serve MODEL"),
        ("download x", "no such command 'download'; write nacelle pull MODEL"),
        ("signin", "no such command 'signin'; no account is needed; for gated models, set HF_TOKEN"),
        ("PS", "no such command 'PS'; write nacelle ps"),
        ("smollm2", "no such command 'smollm2'; to chat with the model, write nacelle run smollm2"),
        ("xyzzy", "no such command 'xyzzy'; see nacelle --help"),
        ("serv", "no such command 'serv'; did you mean 'serve'?"),
        ("-m x", "no option -m; write nacelle serve MODEL, or nacelle run MODEL to chat"),
        ("--ctx-size 9", "no option --ctx-size; the server has one: nacelle serve MODEL --context-length"),
        ("serve m -hf a/b", "no option -hf; write nacelle pull a/b, then nacelle serve a/b"),
        ("serve m --ssl-keyfile a", "no option --ssl-keyfile; did you mean --tls-key?"),
        (
            "serve m --ssl-ca-certs a",
            "no option --ssl-ca-certs; put a proxy in front that checks certificates of clients",
        ),
        ("run m --temp 1", "no option --temp; did you mean --temperature?"),
        ("run m --num-predict 1", "no option --num-predict; did you mean --max-tokens?"),
        ("run m --hidethinking", "no option --hidethinking; did you mean --no-think?"),
        ("run m --nowordwrap", "no option --nowordwrap; it is not needed here, leave it out"),
        ("run m -p hi", "no option -p; write the prompt without one: nacelle run MODEL PROMPT"),
        ("run m -c 9", "no option -c; the server has one: nacelle serve MODEL --context-length"),
        ("ps --host x", "no option --host; did you mean --url?"),
        ("stop --frobnicate", "no option --frobnicate; see nacelle stop --help"),
    ],
)
def test_a_foreign_word_is_one_line_with_ours(line, answer):
    assert error(line) == f"Error: {answer}\n"


def test_tensor_parallelism_has_no_counterpart():
    line = error("serve m --tensor-parallel-size 2")
    assert line.count("\n") == 1
    assert "--device HETERO:GPU.0,GPU.1; --replicas starts copies" in line


def test_no_answer_names_a_command_that_does_not_exist():
    for word in _ANSWERS:
        words = answer_command(word, SUBCOMMANDS).split("nacelle ")[1:]
        for command in words:
            name = command.split()[0].strip(",;'")
            assert name in SUBCOMMANDS or name.startswith("--") or name == "COMMAND", word


def test_words_without_a_counterpart_are_not_settings():
    known = {setting.name for struct in (Settings, ModelSettings) for setting in settings_of(struct)}
    for word in " ".join(_NONE).split():
        assert word not in known
        assert guess(word, known).reason, word


def test_words_of_requests_lead_to_options_of_run():
    [command] = [root.get_command(None, "run")]  # type: ignore[arg-type]
    assert command is not None
    names = {parameter.name for parameter in command.params}
    assert _OF_A_REQUEST.keys() <= names
