"""Text generation, and questions to its tokenizer."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ipc.messages.core import Message, ModelCard, Options, Reply, Task, Value, Work

PROMPT_TAIL = 64  # characters

FinishReason = Literal["stop", "length"]

Temperature = Annotated[float, Meta(ge=0, le=1e6)]
TopP = Annotated[float, Meta(gt=0, le=1)]
TopK = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
MinP = Annotated[float, Meta(ge=0, lt=1)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=1e6)]
MaxTokens = Annotated[int, Meta(ge=1)]


# --- launching -----------------------------------------------------------------------------------------


class DraftModel(Message):
    """Speculative decoding: a smaller model guesses tokens, which the model checks in one pass."""

    num_assistant_tokens: int  # guessed at once
    path: str  # an IR folder
    device: str


class PromptLookup(Message):
    """Speculative decoding: tokens are guessed to follow as they did earlier in the text."""

    num_assistant_tokens: int  # guessed at once
    max_ngram_size: int  # the longest run of tokens that is looked up


Speculation = DraftModel | PromptLookup


class Adapter(Value):
    """A LoRA adapter, part of the model for the whole life of its host."""

    path: str  # a safetensors file
    alpha: float  # its weight


class GenerationDefaults(Value):
    """Values for requests that specify none. None leaves the choice to the model's files."""

    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    max_tokens: MaxTokens | None = None  # None: as many as the context still holds


class TextOptions(Options):
    kv_cache_bytes: int = 1024**3  # memory budget of the KV cache
    context_length: int | None = None  # overrides the model's own
    max_num_seqs: int = 64  # sequences in one batch
    max_num_batched_tokens: int = 256  # tokens in one step
    prefix_caching: bool = True
    speculation: Speculation | None = None
    adapter: Adapter | None = None
    cache_eviction_tokens: int | None = None  # of one request, that the KV cache keeps; None: all
    generation_defaults: GenerationDefaults = msgspec.field(default_factory=GenerationDefaults)
    chat_template: str = ""  # in place of the model's own; empty for that
    synthetic_tokens_per_second: float = 0.0  # of the synthetic engine, per request; 0: as fast as it can


class TextCard(ModelCard):
    vocab_size: int
    kv_cache_tokens: int  # tokens that the KV cache holds
    chat_template: str  # its source; empty for none
    tool_template: str = ""  # the source of the one for turns with tools; empty if it is the same
    takes_images: bool = False
    special_tokens: dict[str, str] = {}  # bos_token, eos_token, … → text

    def template_for(self, with_tools: bool) -> str:
        """The source of the chat template of a turn."""
        return self.tool_template if with_tools and self.tool_template else self.chat_template


# --- prompts ------------------------------------------------------------------------------------------


class ToolCall(Value):
    """A call that the model made earlier in the conversation."""

    id: str
    name: str
    arguments: str  # a JSON object as text


class TextPart(Message):
    """A piece of a message's text."""

    text: str


class MediaPart(Message):
    """An image, as the client sent it: the host decodes it."""

    media_type: str  # such as image/png; what the bytes are is found out by whoever decodes them
    payload: bytes
    detail: str = "auto"  # low, high or auto


ContentPart = TextPart | MediaPart


class ChatMessage(Value):
    role: str
    content: str | list[ContentPart] | None  # None in an assistant's message that holds only tool calls
    name: str | None = None
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None  # of a tool's message: the call that it answers
    reasoning: str | None = None

    @property
    def text(self) -> str:
        """The text of the content, its parts joined by newlines; empty if there is none."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if isinstance(part, TextPart))
        return self.content or ""


class ChatPrompt(Message):
    """Messages for the model's chat template, and what else the template is given."""

    messages: list[ChatMessage]
    tools: str = ""  # a JSON list of {"type": "function", "function": {…}}; empty for none
    template_arguments: str = ""  # a JSON object of further template variables; empty for none
    add_generation_prompt: bool = True
    continue_final_message: bool = False  # the answer continues the last message


class TextPrompt(Message):
    """Plain text."""

    text: str
    add_special_tokens: bool = True  # as the model's tokenizer does


class TokenPrompt(Message):
    """Token ids, used as they are."""

    token_ids: list[int]


Prompt = ChatPrompt | TextPrompt | TokenPrompt


class TextInput(Value):
    """The payload of Generate: all that is large, and the same for every choice of a request."""

    prompt: Prompt
    grammar: str = ""  # the `format` of an XGrammar structural tag, as JSON; empty for none


# --- replies -------------------------------------------------------------------------------------------


class Accepted(Reply):
    """The request passed all checks and is with the engine."""

    prompt_tokens: int
    prompt_tail: str = ""  # the last characters that the chat template wrote, at most PROMPT_TAIL
    prompt_token_ids: list[int] = []  # where they were asked for

    @property
    def ends(self) -> bool:
        return False

    def check(self, card: ModelCard) -> None:  # noqa: ARG002 - the same for every card
        if self.prompt_tokens < 0:
            raise ValueError(f"a prompt of {self.prompt_tokens} tokens")


class Finish(Value):
    """How a text ended."""

    reason: FinishReason
    stop: str | int | None = None  # the stop string or the client's stop token that ended it
    prompt_tokens: int | None = None  # where they are known only now: those of a prompt with images


class Delta(Reply):
    """What one request gained in one step. `text` lags `token_ids` where a character or a possible stop
    string is still open, and may be empty. The last one carries the finish."""

    token_ids: list[int]
    text: str
    finish: Finish | None = None
    logprobs: list[float] = []  # by token, where they were asked for
    token_bytes: list[bytes] = []  # by token, with the logprobs
    cached_tokens: int = 0  # of the prompt, found in the KV cache; with the first tokens

    @property
    def ends(self) -> bool:
        return self.finish is not None

    @property
    def units(self) -> int:
        return len(self.token_ids)

    def check(self, card: ModelCard) -> None:
        if not isinstance(card, TextCard):
            raise ValueError("tokens from a model that does not generate text")
        if min(self.cached_tokens, (self.finish and self.finish.prompt_tokens) or 0) < 0:
            raise ValueError("a negative number of tokens")
        vocab_size = card.vocab_size
        for token in self.token_ids:
            if not 0 <= token < vocab_size:
                raise ValueError(f"token id {token} is outside the vocabulary of {vocab_size}")
        if self.logprobs and not len(self.logprobs) == len(self.token_bytes) == len(self.token_ids):
            raise ValueError("log probabilities must be as many as tokens")


class PromptScored(Reply):
    """The log probability of each token of the prompt given those before it; comes before any Delta."""

    logprobs: list[float]  # that of the first token means nothing
    token_ids: list[int]
    token_bytes: list[bytes]

    @property
    def ends(self) -> bool:
        return False

    def check(self, card: ModelCard) -> None:  # noqa: ARG002 - the same for every card
        if not len(self.logprobs) == len(self.token_ids) == len(self.token_bytes):
            raise ValueError("scores must be as many as tokens")


class Tokenized(Reply):
    token_ids: list[int]
    text: str  # the prompt as the chat template wrote it, or as it was given; empty if it was token ids
    token_texts: list[str]  # by token


class Detokenized(Reply):
    text: str


# --- work ----------------------------------------------------------------------------------------------


class Sampling(Value):
    """How to choose tokens and when to stop. None means the model's default."""

    # None: as many as the context still holds, which also bounds a number; 0: the prompt alone is wanted
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None  # 0 is greedy
    top_p: float | None = None
    top_k: int | None = None  # 0 or -1 is off
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None  # None draws a random one
    stop: list[str] = []
    ignore_eos: bool = False
    stop_token_ids: list[int] = []
    include_stop: bool = False  # a stop string is shown
    stop_at_turns: bool = True  # the turn markers of the chat template end a text, too
    skip_special_tokens: bool = True  # in the text
    logprobs: bool = False  # of the chosen tokens
    truncate_prompt: int | None = None  # keep the prompt's last tokens, this many; -1: what fits the context
    grammar: str = ""  # as in TextInput, where it crosses; empty in a message
    # Begin and end of the model's reasoning: after a prompt that ends with the begin, the grammar waits.
    reasoning_markers: list[str] = []
    may_reason: bool = False  # before what the grammar binds, if the prompt has not begun or ended it


class Generate(Work):
    """Generate one text from an encoded TextInput. Answered by Accepted, then Deltas.

    `resume_token_ids` is what an earlier host has already generated for it. Those tokens count as generated
    and are not sent again: the host continues from there, or, where the next token depends on more than the
    text so far (a seed, penalties), generates them again silently and fails if they come out different.
    """

    answers = (Accepted, Delta, PromptScored)

    sampling: Sampling
    resume_token_ids: list[int] = []
    report_prompt: bool = False  # Accepted is to carry the prompt's token ids
    score_prompt: bool = False  # PromptScored is to be sent

    @property
    def done_units(self) -> int:
        return len(self.resume_token_ids)


class Tokenize(Work):
    """From an encoded Prompt to its token ids, by way of the chat template where it is one for that."""

    answers = (Tokenized,)


class Detokenize(Work):
    """From an encoded list[int] of token ids to text."""

    answers = (Detokenized,)

    skip_special_tokens: bool = False


TASK = Task(
    name="text",
    engines=("text", "vision", "stateful", "synthetic"),
    options=TextOptions,
    card=TextCard,
    work=(Generate, Tokenize, Detokenize),
    replies=(Accepted, Delta, PromptScored, Tokenized, Detokenized),
)
