"""The options and the keys file of the server with everything on."""

import pytest
from click.testing import CliRunner

from bench.features import FEATURES, features, keys_file, options_of_features
from frontend.cli.serve import serve


def test_every_option_of_a_feature_is_one_of_the_server() -> None:
    options = options_of_features(list(FEATURES), "/keys.json", "http://127.0.0.1:4318")
    assert "/keys.json" in options
    assert "http://127.0.0.1:4318" in options
    known = CliRunner().invoke(serve, ["--help"]).output
    assert [name for name in options if name.startswith("--") and name not in known] == []


def test_the_key_is_in_its_file_only_as_a_digest() -> None:
    assert b"secret" not in keys_file("secret")
    assert b'"sha256":"' in keys_file("secret")


@pytest.mark.parametrize("options", [["--feature", "tls"], ["--concurrency", "0"]])
def test_what_cannot_be_measured_is_a_usage_error(options: list[str]) -> None:
    assert CliRunner().invoke(features, options).exit_code == 2
