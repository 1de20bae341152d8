"""A stand-in for a model hub and a Puller, as the tests of pulls have them."""

from tests.frontend.models.sources.conftest import hub as hub
from tests.frontend.models.sources.conftest import naps as naps
from tests.frontend.models.sources.conftest import puller as puller
from tests.frontend.models.sources.conftest import reporter as reporter
from tests.frontend.models.sources.conftest import store as store
