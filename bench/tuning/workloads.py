"""What hosts compute while they are timed, and the prompts of which results are compared."""

from collections.abc import Sequence

import msgspec

from bench.tuning.candidates import Subject
from bench.tuning.configuration import Goal
from bench.workload import text_prompt
from frontend.supervision.throwaway import Answer
from ipc.messages import (
    Embed,
    EmbedInputs,
    Generate,
    Rerank,
    RerankInputs,
    Sampling,
    TextInput,
    TextPrompt,
    Work,
)

_PREFILL_WORDS = 512
_MIXED_WORDS, _MIXED_TOKENS = 128, 32  # reading the words takes about as long as writing the tokens
_COPIES = 3  # of each prompt's words where prompt lookup is tried, so that there is something to copy
_SMALL_TOKENS, _MOST_TOKENS = 16, 128  # of one text
RUN_SECONDS: dict[Goal, float] = {
    "mixed": 3.0,
    "latency": 1.5,
    "throughput": 3.0,
    "prefill": 1.5,
}  # that one run should take at least
_MOST_REQUESTS = 64
# Ordinary texts, whose continuations are compared with those in full precision.
_TEXTS = (
    "The three most important things to know about the history of the printing press are",
    "Question: Why does the moon appear larger near the horizon?\nAnswer:",
    "def fibonacci(n):\n    ",
    "Dear Ms. Alvarez,\n\nThank you for your letter of 4 March. We are pleased to",
    "Translate into French: The train leaves at half past seven from platform two.\n",
    "Ingredients: two eggs, 200 g flour, a pinch of salt, 300 ml milk.\nMethod:",
    "SELECT name, COUNT(*) FROM orders",
    "Once upon a time, in a village by the sea, there lived a clockmaker who",
    "The difference between TCP and UDP is that",
    "List five countries in South America:\n1.",
    "In 1905, Albert Einstein published a paper in which he",
    "User: My laptop does not start any more. What should I check first?\nAssistant:",
)


class Load(msgspec.Struct, frozen=True):
    """How much one timed run computes: found out once, then the same for all configurations."""

    requests: int
    concurrency: int
    max_tokens: int = 1  # of each text
    words: int = 32  # of each prompt or input
    copies: int = 1

    def works(self, task: str, seed: int) -> list[Work]:
        """Of one run. No other seed has the same prompts, so that no cache has seen them."""
        texts = [text_prompt(seed, index, self.words) for index in range(self.requests)]
        texts = [" ".join([text] * self.copies) for text in texts]
        if task == "embeddings":
            return [Embed(0, msgspec.msgpack.encode(EmbedInputs([text])), truncate=-1) for text in texts]
        if task == "rerank":
            return [
                Rerank(0, msgspec.msgpack.encode(RerankInputs(["what is new"], [text]))) for text in texts
            ]
        return [generate(text, self.max_tokens) for text in texts]

    def speed(self, task: str, answers: Sequence[Answer], goal: Goal) -> float:
        """Tokens per second: generated ones, or about as many as the prompts have if the goal is prefill.
        Of vector models, inputs per second."""
        seconds = max(answer.finished for answer in answers) - min(answer.started for answer in answers)
        if task != "text":
            return len(answers) / seconds
        if goal == "prefill":
            return self.requests * self.words * self.copies / seconds
        return sum(len(answer.token_ids) for answer in answers) / seconds


def generate(text: str, max_tokens: int) -> Work:
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0, ignore_eos=True, stop_at_turns=False)
    return Generate(0, msgspec.msgpack.encode(TextInput(TextPrompt(text))), sampling)


def trial_load(subject: Subject, concurrency: int, context: int) -> Load:
    """A small one, to warm a host up and to measure by. `context` is the model's, in tokens."""
    parallel = concurrency if subject.goal in ("mixed", "throughput") else 1
    times = _COPIES if subject.prompt_lookup else 1
    if subject.task != "text":
        return Load(2 * parallel, parallel, words=min(64, context // 4))
    if subject.goal == "prefill":
        return Load(1, 1, 1, max(8, min(_PREFILL_WORDS, context // 4) // times), times)
    if subject.goal == "mixed":
        words = max(8, min(_MIXED_WORDS, context // 4) // times)
        return Load(parallel, parallel, max(4, min(_MIXED_TOKENS, context // 8)), words, times)
    tokens = max(4, min(_SMALL_TOKENS, context // 8))
    return Load(parallel, parallel, tokens, max(4, min(32, context // 8) // times), times)


def sized(load: Load, subject: Subject, factor: float, context: int) -> Load:
    """One that takes about `factor` times as long, but not less long, within bounds."""
    if subject.task == "text" and subject.goal in ("latency", "throughput"):
        most = max(load.max_tokens, min(_MOST_TOKENS, context // 4))
        tokens = min(most, round(load.max_tokens * max(1.0, factor)))
        factor *= load.max_tokens / tokens
        load = msgspec.structs.replace(load, max_tokens=tokens)
    requests = min(_MOST_REQUESTS * load.concurrency, round(load.requests * factor))
    return msgspec.structs.replace(load, requests=max(load.requests, requests))


def compared_works(task: str, max_tokens: int) -> list[Work]:
    """Those whose results are compared with those in full precision."""
    if task == "embeddings":
        return [Embed(0, msgspec.msgpack.encode(EmbedInputs([text])), truncate=-1) for text in _TEXTS]
    if task == "rerank":
        query = "Which of these texts is about computers?"
        return [Rerank(0, msgspec.msgpack.encode(RerankInputs([query], list(_TEXTS))))]
    return [generate(text, max_tokens) for text in _TEXTS]
