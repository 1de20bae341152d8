"""A server that `nacelle run` starts is given what the store has, without asking where it came from."""

from pathlib import Path

from frontend.cli.address import Address
from frontend.cli.serving import _pull_first
from frontend.config import Settings
from tests.frontend.models.sources.test_pulls import IR


def test_a_model_that_the_store_has_is_not_looked_for_elsewhere(hub, puller, tmp_path: Path):
    hub.add("org/tiny-ov", IR)
    puller.pull("org/tiny-ov")
    asked = len(hub.seen)
    settings = Settings(store=str(tmp_path / "store"))
    address = Address("http", "127.0.0.1", 8000, "", None, False, settings)
    assert _pull_first(address, "org/tiny-ov") == "org/tiny-ov"
    assert len(hub.seen) == asked
