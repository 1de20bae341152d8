"""The settings files of the working folder: what is read of them, which wins, and which are not trusted."""

import logging
import os
from pathlib import Path

import pytest

from frontend.cli.address import find_server
from frontend.config import ConfigError
from frontend.config_dotenv import parse_dotenv
from frontend.config_found import find_settings, settings_here
from frontend.config_values import Given


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def port(environ: dict[str, str] | None = None, option: str = "", config: Path | None = None) -> int:
    options = {"port": Given(option, "--port")} if option else {}
    return settings_here(options, {}, [], config, environ or {})[0].port


def test_the_order_is_file_dotenv_environment_option(folder):
    (folder / "nacelle.toml").write_text("[server]\nport = 1111\n")
    assert port() == 1111
    (folder / ".env").write_text("NACELLE_PORT=2222\n")
    assert port() == 2222
    assert port({"NACELLE_PORT": "3333"}) == 3333
    assert port({"NACELLE_PORT": "3333"}, "4444") == 4444
    assert port({"NACELLE_PORT": ""}) == 2222, "an empty variable counts as unset"


def test_what_an_entry_says_of_its_model_wins_over_variables_which_speak_of_all(folder):
    (folder / "nacelle.toml").write_text('[[models]]\nsource = "a"\nthreads = 1\n[[models]]\nsource = "b"\n')
    (folder / ".env").write_text("NACELLE_THREADS=2\nNACELLE_REPLICAS=2\n")
    settings, _ = settings_here({}, {}, [], None, {"NACELLE_REPLICAS": "3"})
    assert [(model.threads, model.replicas) for model in settings.models] == [(1, 3), (2, 3)]


def test_a_named_file_is_used_in_place_of_the_found_one_and_none_uses_neither(folder):
    (folder / "nacelle.toml").write_text("[server]\nport = 1111\n")
    (folder / "other.toml").write_text("[server]\nport = 5555\n")
    assert port(config=Path("other.toml")) == 5555
    assert port({"NACELLE_CONFIG": "other.toml"}) == 5555
    (folder / ".env").write_text("NACELLE_CONFIG=other.toml\nNACELLE_MAX_QUEUE=3\n")
    assert port() == 5555
    assert find_settings(Path("none"), {}) == (None, {}, [])


def test_what_was_found_is_reported(folder):
    assert find_settings(None, {}).notes == []
    (folder / "nacelle.toml").write_text("")
    (folder / ".env").write_text("OTHER=1\n")
    [note] = find_settings(None, {}).notes
    assert note == (logging.INFO, "using nacelle.toml of this folder; --config none ignores it")
    (folder / ".env").write_text("NACELLE_PORT=1\n")
    [note] = find_settings(None, {}).notes
    assert note.text.startswith("using nacelle.toml and .env of this folder")


@pytest.mark.parametrize("name", ["nacelle.toml", ".env"])
def test_a_file_that_every_user_may_write_is_ignored_with_a_warning(folder, name):
    file = folder / name
    file.write_text("[server]\nport = 1\n" if name == "nacelle.toml" else "NACELLE_PORT=1\n")
    file.chmod(0o666)
    found = find_settings(None, {})
    assert (found.config, found.dotenv) == (None, {})
    [note] = found.notes
    assert note.level == logging.WARNING
    assert note.text.startswith(f"ignored {name} of this folder: every user may write it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_ignored(folder):
    (folder / ".env").write_text("NACELLE_PORT=1\n")
    os.chown(folder / ".env", 12345, 12345)
    assert port() == 8000


def test_a_slip_in_dotenv_is_an_error_and_a_name_like_no_setting_a_warning(folder):
    (folder / ".env").write_text("NACELLE_PROT=1\n")
    with pytest.raises(
        ConfigError, match=r"\.env: NACELLE_PROT is not a setting; did you mean NACELLE_PORT\?"
    ):
        port()
    (folder / ".env").write_text("NACELLE_IMAGE_TAG_OF_COMPOSE=1\n")
    [_, note] = settings_here({}, {}, [], None, {})[1]
    assert note == (logging.WARNING, "ignored NACELLE_IMAGE_TAG_OF_COMPOSE in .env: it is not a setting")


def test_a_wrong_value_names_the_file(folder):
    (folder / ".env").write_text("NACELLE_PORT=many\n")
    with pytest.raises(ConfigError, match=r"^\.env NACELLE_PORT: must be a whole number, not 'many'$"):
        port()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NACELLE_A=b", "b"),
        ("  export NACELLE_A = b # said why ", "b"),
        ("NACELLE_A=b#c", "b#c"),
        ("NACELLE_A=", ""),
        ("NACELLE_A=#", ""),
        ("NACELLE_A='b # $C\\n'  # a comment", "b # $C\\n"),
        (r'NACELLE_A="b \"c\" \\ d\n"', 'b "c" \\ d\n'),
        ('NACELLE_A="b # c" # d', "b # c"),
        ("NACELLE_A=$HOME/${X}", "$HOME/${X}"),
    ],
)
def test_a_line_of_dotenv(line, value):
    assert parse_dotenv(f"OTHER='unclosed\n{line}\n# NACELLE_A=commented\n") == {"NACELLE_A": value}


@pytest.mark.parametrize(
    "line", ["NACELLE_A", "NACELLE_A 'b'", "NACELLE_A='b", 'NACELLE_A="b" c', 'NACELLE_A="']
)
def test_a_line_that_cannot_be_read_is_named(line):
    with pytest.raises(ConfigError, match=r"^\.env line 2: "):
        parse_dotenv(f"NACELLE_B=1\n{line}\n")


def test_lines_of_other_programs_are_not_looked_at():
    assert parse_dotenv("PATH='\nmy NACELLE_A=1\nXNACELLE_A=1\n{json}\n") == {}


def test_the_last_line_for_a_name_counts():
    assert parse_dotenv("NACELLE_A=1\r\nNACELLE_A=2\r\n") == {"NACELLE_A": "2"}


def test_an_error_about_a_value_does_not_show_it():
    with pytest.raises(ConfigError) as caught:
        parse_dotenv("NACELLE_API_KEY='sk-secret\n")
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(("group", "used"), [(4321, 8000), (0, 1)], ids=["others", "the user's own group"])
def test_a_file_that_a_group_may_write_is_ignored(folder, group, used):
    (folder / ".env").write_text("NACELLE_PORT=1\n")
    os.chown(folder / ".env", 0, group)
    (folder / ".env").chmod(0o664)
    assert port() == used


def test_the_url_of_a_folder_is_not_sent_the_key_of_the_environment(folder):
    key = {"NACELLE_API_KEY": "mine"}
    (folder / ".env").write_text("NACELLE_URL=https://foreign.example\n")
    assert find_server(None, None, key).api_key is None
    assert find_server("https://chosen.example", None, key).api_key == "mine"
    (folder / ".env").write_text("NACELLE_URL=https://foreign.example\nNACELLE_API_KEY=its\n")
    assert find_server(None, None, key).api_key == "its"
