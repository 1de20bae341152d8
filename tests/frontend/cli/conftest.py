"""A stand-in for a model hub, as the tests of pulls have it."""

from tests.frontend.models.sources.conftest import hub as hub
