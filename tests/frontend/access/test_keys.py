"""API keys: how they are stored, found, followed and changed."""

import hmac
import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from frontend.access.authentication import Authentication, authentication_of, is_authenticated
from frontend.access.keys import KeyRecord, KeyRing, digest, new_id, new_secret, unrestricted
from frontend.access.keys_file import KeysFile, changing, exposure, read_keys
from frontend.caller import SCOPES, Limits
from frontend.cli.root import root
from frontend.config import ConfigError, Settings, check_bind
from frontend.config_sources import load_settings
from frontend.errors import Unauthorized


def record(secret: str, **fields) -> KeyRecord:
    return KeyRecord(id=fields.pop("id", f"key_{secret}"), sha256=digest(secret), **fields)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_digests_are_compared_in_constant_time_with_every_key(monkeypatch):
    compared = []
    genuine = hmac.compare_digest

    def compare(a, b):
        compared.append((a, b))
        return genuine(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    ring = KeyRing((record("a"), record("b"), record("c")))
    found = ring.find("a")
    assert found is not None and found.id == "key_a"
    assert compared == [(digest("a"), digest(secret)) for secret in "abc"], "the first match ends nothing"
    assert all(len(text) == 64 for pair in compared for text in pair)


@pytest.mark.parametrize("asked", ["", "A", "a ", "a\0", "ä", "\udcff", "x" * 100_000, digest("a")])
def test_what_is_not_the_key_finds_nothing(asked):
    assert KeyRing((record("a"),)).find(asked) is None


def test_a_key_becomes_a_caller_without_its_secret():
    limits = Limits(requests_per_minute=5)
    key = record("s3cret", scopes=("admin",), models=("qwen*",), limits=limits, weight=2.0)
    caller = Authentication([key]).identify(["s3cret"])
    assert (caller.key_id, caller.models) == ("key_s3cret", ("qwen*",))
    assert caller.scopes == {"admin"}
    assert (caller.limits, caller.weight) == (limits, 2.0)
    assert Authentication([unrestricted("api_key", "x")]).identify(["x"]).scopes == SCOPES


def test_a_key_ends_when_it_expires_or_is_revoked_and_only_its_holder_learns_why():
    clock = Clock()
    keys = [record("a", expires=1001.0), record("b", revoked=5.0)]
    authentication = Authentication(keys, now=clock)
    assert authentication.identify(["a"]).key_id == "key_a"
    clock.now = 1001.0
    for secret, why in (
        ("a", "this API key has expired"),
        ("b", "this API key was revoked"),
        ("c", "key is unknown; ask"),
    ):
        with pytest.raises(Unauthorized, match=why):
            authentication.identify([secret])
    with pytest.raises(Unauthorized, match="revoked"):
        authentication.identify(["nothing", "b"])
    with pytest.raises(Unauthorized, match=r"^send the server's API key as"):
        authentication.identify([])


def test_of_two_keys_the_first_that_is_accepted_counts():
    authentication = Authentication([record("a"), record("b"), record("gone", revoked=1.0)])
    assert authentication.identify(["b", "a"]).key_id == "key_b"
    assert authentication.identify(["gone", "a"]).key_id == "key_a"


def test_new_keys_and_ids_are_unlike_all_others():
    assert len({new_secret() for _ in range(50)}) == 50
    assert len(new_secret()) >= 43
    assert new_id(["key_1"]) != new_id([])


# --- the file ---


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def put(path: Path, *records: KeyRecord) -> None:
    with changing(path) as found:
        found[:] = records


def ids(ring: KeyRing | None) -> list[str]:
    assert ring is not None
    return [one.id for one in ring.records]


def test_the_file_is_written_for_its_owner_alone_and_has_no_key(path):
    put(path, record("s3cret", name="Ann"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "s3cret" not in path.read_text().replace("key_s3cret", "")
    path.chmod(0o644)
    put(path, record("b"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [file for file in path.parent.iterdir() if file.name not in (path.name, f".{path.name}.lock")]


def test_a_symbolic_link_stays_one(path, tmp_path):
    real = tmp_path / "elsewhere" / "real.json"
    real.parent.mkdir()
    put(real, record("a"))
    path.symlink_to(real)
    with changing(path) as records:
        records.append(record("b"))
    assert path.is_symlink()
    assert ids(read_keys(real)[0]) == ["key_a", "key_b"]


def test_changes_of_the_file_are_followed_and_seldom_looked_for(path):
    clock = Clock()
    file = KeysFile(path, required=False, clock=clock)
    assert file.ring is None
    put(path, record("a"))
    assert file.ring is None, "it was looked at just now"
    clock.now += 1
    assert ids(file.ring) == ["key_a"]
    put(path, record("b"))
    clock.now += 1
    assert ids(file.ring) == ["key_b"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "keys": []}',
        b'{"keys": [{"id": "a"}]}',
        b'{"keys": [{"id": "a b", "sha256": "%s"}]}' % (b"0" * 64),
        b'{"keys": [{"id": "a", "sha256": "s3cret-in-clear"}]}',
        b'{"keys": [{"id": "a", "sha256": "%s", "scopes": ["root"]}]}' % (b"0" * 64),
        b'{"keys": [{"id": "a", "sha256": "%s", "model": ["x"]}]}' % (b"0" * 64),  # a slip would open all
        b'{"keys": [{"id": "a", "sha256": "%s", "weight": 0}]}' % (b"0" * 64),
        b'{"keys": [{"id": "a", "sha256": "%s", "limits": {"max_concurrent": -1}}]}' % (b"0" * 64),
        b'{"keys": [{"id": "a", "sha256": "%s"}, {"id": "a", "sha256": "%s"}]}' % (b"0" * 64, b"1" * 64),
        b'{"keys": [{"id": "a", "sha256": "%s"}, {"id": "b", "sha256": "%s"}]}' % (b"0" * 64, b"0" * 64),
        b"\xff" * 10,
        b'{"keys": [{"id": "a", "sha256": "%s", "name": "\xff"}]}' % (b"0" * 64),
    ],
)
def test_a_broken_file_keeps_the_last_keys_and_is_logged_once(path, content, caplog):
    clock = Clock()
    put(path, record("a"))
    file = KeysFile(path, required=False, clock=clock)
    path.write_bytes(content)
    for _ in range(3):
        clock.now += 1
        assert ids(file.ring) == ["key_a"]
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "the keys that were read last stay in force" in errors[0].message
    assert "s3cret" not in errors[0].message
    with pytest.raises(ConfigError, match=r"keys\.json"):
        KeysFile(path, required=False)
    put_over = path.with_name("new.json")
    put(put_over, record("b"))
    put_over.replace(path)
    clock.now += 1
    assert ids(file.ring) == ["key_b"]


def test_a_file_that_goes_opens_nothing(path, caplog):
    clock = Clock()
    put(path, record("a"))
    file = KeysFile(path, required=False, clock=clock)
    path.unlink()
    for _ in range(3):
        clock.now += 1
        assert Authentication(file=file).is_required
    assert caplog.text.count("is gone") == 1


def test_a_file_that_went_still_holds_after_a_reload(path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path.parent))
    default = path.parent / "nacelle" / "keys.json"
    put(default, record("a"))
    before = authentication_of(Settings())
    default.unlink()
    after = authentication_of(Settings(), before)
    assert after.is_required
    assert after.identify(["a"]).key_id == "key_a"
    assert not authentication_of(Settings()).is_required


def test_a_file_that_is_named_must_exist(path):
    with pytest.raises(
        ConfigError,
        match=r"api_keys_file: .* does not exist; create it with nacelle keys add NAME --api-keys-file ",
    ):
        authentication_of(Settings(api_keys_file=str(path)))


def test_a_pipe_or_a_folder_is_no_file_of_keys_and_blocks_nobody(path):
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is not a file"):
        KeysFile(path, required=True)
    with pytest.raises(ConfigError, match=r"cannot read|is not a file"):
        KeysFile(path.parent, required=True)


@pytest.mark.parametrize(
    ("mode", "why"), [(0o600, ""), (0o640, ""), (0o644, "read"), (0o660, "write"), (0o602, "write")]
)
def test_a_file_that_others_can_use_is_warned_of(path, mode, why, caplog):
    put(path, record("a"))
    path.chmod(mode)
    KeysFile(path, required=True)
    assert (why in exposure(mode)) and bool(
        [one for one in caplog.records if one.levelno >= logging.WARNING]
    ) == bool(why)


def _add(path: Path, number: int) -> None:
    with changing(path) as records:
        records.append(record(f"k{number}"))


def test_keys_that_are_added_at_once_are_all_there(path):
    with ThreadPoolExecutor(8) as pool:  # the lock belongs to the open file, as it would in processes
        list(pool.map(partial(_add, path), range(8)))
    assert sorted(ids(read_keys(path)[0])) == sorted(f"key_k{number}" for number in range(8))


# --- the settings ---


def test_keys_of_the_environment_may_be_several():
    settings, _ = load_settings(environ={"NACELLE_API_KEY": "one", "NACELLE_API_KEYS": "two, three"})
    authentication = authentication_of(settings)
    assert [authentication.identify([key]).key_id for key in ("one", "two", "three")] == [
        *("api_key", "api_keys.1", "api_keys.2")
    ]
    with pytest.raises(Unauthorized):
        authentication.identify(["two, three"])


def test_a_wrong_key_in_the_environment_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        load_settings(environ={"NACELLE_API_KEYS": "s3cret words"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"api_keys": ["a"]}, {"jwt_secret": "x" * 32}, {"jwt_jwks_url": "https://a/b"}]
)
def test_whatever_asks_for_a_key_may_listen_on_all_addresses(fields):
    settings = Settings(host="0.0.0.0", **fields)
    assert is_authenticated(settings)
    check_bind(settings, is_authenticated=is_authenticated(settings))
    with pytest.raises(ConfigError, match="nacelle keys add"):
        check_bind(Settings(host="0.0.0.0"), is_authenticated=is_authenticated(Settings()))


def test_a_file_of_keys_may_listen_on_all_addresses(path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(path.parent))
    assert not is_authenticated(Settings())
    put(path.parent / "nacelle" / "keys.json", record("a"))
    assert is_authenticated(Settings())


# --- the command ---


def run(*arguments: str) -> str:
    result = CliRunner().invoke(root, ["keys", *arguments], prog_name="nacelle")
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: str) -> str:
    result = CliRunner().invoke(root, ["keys", *arguments], prog_name="nacelle")
    assert result.exit_code != 0
    return result.stderr


def test_a_key_is_printed_once_listed_without_it_and_revoked(path, monkeypatch):
    monkeypatch.setenv("NACELLE_API_KEYS_FILE", str(path))
    secret = run(
        *("add", "Ann", "--scope", "admin", "--model", "qwen*", "--expires", "30d"),
        *("--requests-per-minute", "5", "--weight", "2"),
    ).strip()
    run("add", "Bob")
    key, other = read_keys(path)[0].records
    assert (key.sha256, key.name, key.scopes, key.models) == (digest(secret), "Ann", ("admin",), ("qwen*",))
    assert (key.limits, key.weight) == (Limits(requests_per_minute=5), 2.0)
    assert key.expires is not None and round(key.expires - key.created) in (30 * 86_400, 30 * 86_400 + 1)
    assert (other.scopes, other.models, other.expires) == (("inference",), None, None)
    assert secret not in path.read_text()
    for listed in (run("list"), run("list", "--json")):
        assert "Ann" in listed
        assert secret not in listed and key.sha256 not in listed
    run("revoke", "Ann")
    run("revoke", key.id, other.id)
    assert [row["state"] for row in json.loads(run("list", "--json"))] == ["revoked", "revoked"]


def test_what_the_command_cannot_do_is_said_and_changes_nothing(path, monkeypatch):
    monkeypatch.setenv("NACELLE_API_KEYS_FILE", str(path))
    put(path, record("a", name="same"), record("b", name="same"))
    before = path.read_bytes()
    assert "2 keys have the name 'same'" in (said := failed("revoke", "same"))
    assert "name one by its id: key_a, key_b" in said
    assert "no key has the id or name 'x'" in failed("revoke", "x")
    for arguments in (
        ["--scope", "root"],
        ["--expires", "soon"],
        ["--expires", "2001-01-01"],
        ["--weight", "0"],
    ):
        assert arguments[0] in failed("add", "y", *arguments)
    assert "--model" in failed("add", "y", "--model", "a b")
    assert path.read_bytes() == before
    path.write_text("broken")
    assert "keys.json is not a valid file of keys" in failed("add", "y")
    assert path.read_text() == "broken"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "NAME is missing; say whose key it is: nacelle keys add NAME"),
        ([""], "NAME is missing"),
        (["  "], "NAME is missing"),
        (["a\nb"], "NAME: must be 1 to 200 printable characters"),
        (["x" * 201], "NAME: must be 1 to 200 printable characters"),
        (["Ann"], "key_a already has the name 'Ann'; choose another name, or revoke that key first"),
        (["key_b"], "'key_b' is the id of another key; choose another name"),
        (["Cy", "--expires", "2001-01-01"], "--expires: '2001-01-01' is past; name a later time"),
    ],
)
def test_a_key_needs_a_name_of_its_own(path, monkeypatch, arguments, said):
    monkeypatch.setenv("NACELLE_API_KEYS_FILE", str(path))
    put(path, record("a", name="Ann"), record("b", name="Bob", revoked=1.0))
    before = path.read_bytes()
    result = CliRunner().invoke(root, ["keys", "add", *arguments], prog_name="nacelle")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {said}")
    assert path.read_bytes() == before


def test_the_name_of_a_revoked_key_is_free_and_means_the_valid_one(path, monkeypatch):
    monkeypatch.setenv("NACELLE_API_KEYS_FILE", str(path))
    put(path, record("a", name="Ann", revoked=1.0))
    run("add", "Ann")
    run("revoke", "Ann")
    old, new = read_keys(path)[0].records
    assert old.revoked == 1.0
    assert new.revoked is not None


def test_limits_and_weights_are_listed_where_a_key_has_any(path, monkeypatch):
    monkeypatch.setenv("NACELLE_API_KEYS_FILE", str(path))
    put(path, record("a", name="Ann"))
    assert run("list").split("\n")[0].split() == "ID NAME STATE CREATED EXPIRES SCOPES MODELS".split()
    limits = Limits(requests_per_minute=60, max_concurrent=0)
    put(path, record("a", name="Ann"), record("b", limits=limits, weight=0.5))
    heading, ann, other = run("list").splitlines()
    assert "LIMITS" in heading and "WEIGHT" in heading
    assert "60 requests/min, 0 at once  0.5" in other
    assert ann.split()[-3:] == ["-", "1", "all"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"keys": [{"id": "a", "sha256": "0" * 64, "scopes": ["sk-secret"]}]}, "admin, inference, metrics"),
        ({"version": 7}, "version: must be 1"),
    ],
)
def test_a_file_of_keys_with_a_wrong_word_is_told_the_allowed_ones_and_does_not_show_it(
    tmp_path, fields, words
):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ConfigError) as caught:
        read_keys(path)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "Invalid" not in str(caught.value)


def test_the_log_says_at_the_start_that_requests_need_a_key_and_if_none_is_valid(path, caplog):
    put(path, record("k", revoked=1.0))
    with caplog.at_level(logging.INFO, "nacelle"):
        KeysFile(path, required=True)
    assert "requests need a key: 0 of 1 API keys" in caplog.text
    assert "write nacelle keys add NAME" in caplog.text
    caplog.clear()
    put(path, record("k"))
    with caplog.at_level(logging.INFO, "nacelle"):
        KeysFile(path, required=True)
    assert "1 of 1" in caplog.text
    assert "keys add" not in caplog.text
