"""What `nacelle run` says of a model that the server neither serves nor may load for this caller."""

from types import SimpleNamespace
from typing import cast

import click
import pytest

from frontend.cli.address import Address
from frontend.cli.client import Client, Refused
from frontend.cli.serving import ensure_served


class Forbidding(Client):
    """A server that lists no model for this key."""

    def __init__(self) -> None:
        self.address = cast(Address, SimpleNamespace(url="http://127.0.0.1:8000", is_here=True))

    def get(self, *_):
        raise Refused(404, "there is no model 'nosuch'", "model_not_found")

    def post(self, *_):
        raise Refused(403, "this API key lacks the scope admin; use one that has it", "forbidden")


def test_a_model_that_may_not_be_loaded_is_named_with_the_remedy():
    with pytest.raises(click.ClickException) as caught:
        ensure_served(Forbidding(), "nosuch", None)
    assert "has no model 'nosuch'" in caught.value.message
    assert "lacks the scope admin; use one that has it" in caught.value.message
