"""Jobs pay for the tokens that they used, whatever becomes of them."""

import pytest

from frontend.caller import Caller
from frontend.config import Settings
from frontend.errors import QueueFull, RateLimited
from frontend.routing.router import Model, Router, RouterOptions
from frontend.tasks.generation import Generation, generate
from frontend.tasks.text import SequenceSpec
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed, Sampling, TextPrompt, TokenPrompt
from tests.frontend.routing.hosts import CARD, History

LIMIT = 1000
KEY = Caller(key_id="a")


class Charged:
    """One model behind a router that limits tokens, with a clock that stands still."""

    def __init__(self, **options: int) -> None:
        self.history = History(**options)
        self.router = Router(RouterOptions(arena_bytes=2**20, request_timeout_seconds=600))
        self.router.quotas._clock = lambda: 0.0
        self.router.quotas.follow(Settings(tokens_per_minute=LIMIT))
        self.router.add(self.history.route)
        self.model = Model(self.router, self.history.route, CARD, KEY)

    @property
    def used(self) -> int:
        return LIMIT - self.router.quotas.levels(KEY)[0].remaining

    def ask(self, text: str = "x" * 40, choices: int = 1, **sampling: object) -> Generation:
        spec = SequenceSpec(TextPrompt(text), Sampling(temperature=0.0, **sampling))  # type: ignore[arg-type]
        generation = Generation([spec] * choices, 0.0, self.model.drop, streaming=True)
        self.model.submit(generation.sequences)
        return generation


def test_the_estimate_is_the_prompt_and_the_most_that_may_be_generated():
    charged = Charged()
    charged.ask(max_tokens=50)
    assert charged.used == 10 + 50
    charged = Charged()
    charged.ask()
    assert charged.used == 10 + 256
    charged = Charged()
    charged.ask(choices=3, max_tokens=50)
    assert charged.used == 10 + 3 * 50


def test_ids_are_counted_as_they_are():
    charged = Charged()
    spec = SequenceSpec(TokenPrompt([7] * 33), Sampling(max_tokens=1))
    charged.model.submit(Generation([spec], 0.0, charged.model.drop).sequences)
    assert charged.used == 34


def test_what_was_used_replaces_the_estimate():
    charged = Charged()
    charged.ask(choices=2, max_tokens=300)
    charged.history.accept()
    for _ in range(3):
        charged.history.step()
    assert charged.used == 10 + 600
    charged.history.complete()
    assert charged.used == 10 + 2 * 3, "the host counts 10 tokens of the prompt, which both share"


def test_a_client_that_leaves_pays_for_what_was_computed():
    charged = Charged()
    generation = charged.ask(max_tokens=300)
    charged.history.accept()
    charged.history.step()
    generation.close()
    assert charged.used == 11


def test_a_request_that_a_host_refuses_pays_nothing():
    charged = Charged()
    charged.ask(max_tokens=300)
    (request_id,) = charged.history.route.replicas[0].jobs
    charged.history.say(0, Failed(request_id, RequestError(ErrorCode.INVALID_VALUE, "no", "stop")))
    assert charged.used == 0


def test_a_request_that_is_not_queued_pays_nothing():
    charged = Charged(slots=1, max_queue=0)
    first = charged.ask(max_tokens=1)
    before = charged.used
    with pytest.raises(QueueFull):
        charged.ask(max_tokens=300)
    assert charged.used == before
    first.close()
    assert charged.used == 0


def test_a_death_charges_nothing_twice():
    charged = Charged(slots=2)
    charged.ask(max_tokens=300)
    charged.history.accept()
    charged.history.step()
    charged.history.die(number=9)
    charged.history.ready_again()
    charged.history.accept()
    charged.history.step()
    charged.history.complete()
    assert charged.used == 10 + 2


def test_more_than_is_left_is_refused_before_it_is_queued():
    charged = Charged()
    charged.ask(max_tokens=800)
    with pytest.raises(RateLimited, match="1000 tokens per minute, and this request may use up to 310"):
        charged.ask(max_tokens=300)
    assert len(charged.history.holds()) == 1
    with pytest.raises(RateLimited, match="never"):
        generate(charged.model, [SequenceSpec(TextPrompt("x"), Sampling(max_tokens=5000))], streaming=True)
