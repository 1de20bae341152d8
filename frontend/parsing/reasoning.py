"""Reasoning before the answer, between a begin mark and an end mark."""

import msgspec

from frontend.parsing.scanner import Program, Reading, Scanner
from frontend.parsing.thought import Thought
from frontend.parsing.tool_formats import marks_of


class ReasoningFormat(msgspec.Struct, frozen=True):
    name: str  # as in the settings
    begin: str = ""  # both are empty if the tool format reads the reasoning, as harmony does
    end: str = ""
    needs_special_tokens: bool = False  # the marks are special tokens, which are hidden by default
    turn_ends: tuple[str, ...] = ()  # marks that then become visible, and must be dropped

    def read(self, scanner: Scanner, prompt_tail: str, calls: Program | None = None) -> Reading[bool]:
        """Read the reasoning and its marks, if the answer begins with it or the prompt has begun it.

        True if a grammar that watches for the beginning of the answer may have taken something else for it.

        `calls` reads the calls of a text. Where the reasoning never ends, those in it count.
        """
        tail = prompt_tail.rstrip()
        if tail.endswith(self.end):
            return False
        begins = yield from scanner.opens_with(marks_of((self.begin,), ()))
        if not begins and not self.is_begun_by(prompt_tail):
            return False
        if not begins:
            scanner.into(scanner.drop)
            yield from scanner.newlines()
        thought = None if calls is None else Thought(scanner, calls)
        sink = scanner.reasoning if thought is None else thought.write
        if (yield from scanner.until(marks_of((self.end,), ()), sink)) is not None:
            if thought is not None:
                thought.close()
            scanner.release()
            parted = yield from scanner.newlines_dropped()
            return parted or not self.is_begun_by(prompt_tail)
        elif thought is not None:
            scanner.into(scanner.drop)
            thought.end()
        return False

    def is_begun_by(self, prompt_tail: str) -> bool:
        return prompt_tail.rstrip().endswith(self.begin.rstrip())


HARMONY = ReasoningFormat("harmony", needs_special_tokens=True)

_COHERE_MARKS = ("RESPONSE", "TEXT")
REASONING_FORMATS = {
    form.name: form
    for form in (
        HARMONY,
        ReasoningFormat("think", "<think>", "</think>"),
        ReasoningFormat("thought", "<thought>", "</thought>"),
        ReasoningFormat("kimi", "◁think▷", "◁/think▷"),
        ReasoningFormat("seed", "<seed:think>", "</seed:think>", True, ("<seed:eos>",)),
        ReasoningFormat("mistral", "[THINK]", "[/THINK]", True, ("</s>",)),
        ReasoningFormat("gemma", "<|channel>thought\n", "<channel|>", True, ("<turn|>",)),
        ReasoningFormat(
            "apriel",
            "Here are my reasoning steps:\n",
            "[BEGIN FINAL RESPONSE]",
            turn_ends=("[END FINAL RESPONSE]",),
        ),
        ReasoningFormat(
            "cohere",
            "<|START_THINKING|>",
            "<|END_THINKING|>",
            True,
            (
                *(f"<|{side}_{kind}|>" for kind in _COHERE_MARKS for side in ("START", "END")),
                "<|END_OF_TURN_TOKEN|>",
            ),
        ),
    )
}
