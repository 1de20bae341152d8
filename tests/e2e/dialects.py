"""What models of each dialect write in a tool loop, and how a client must see it.

A row is a chat template and two texts: one that calls `get_weather`, and the answer once its result is there.
Both may reason first. `REASONING` and the text of the answer hold END, which is given as a stop string.
"""

from pathlib import Path

import msgspec

from tests.models.scripted import scripted_model
from tests.models.scripted_vocabulary import Form
from tests.models.templates import chat_template

SPLITS = 3  # ways in which each text is cut into tokens
REASONING = "I need the tool, not the END. <b>“Paris”</b>"
LOOK = "Let me look."
ARGUMENTS = {"city": "Paris, «la ville» 😀"}
_JSON = '{"city": "Paris, «la ville» 😀"}'
_OBJECT = '{"name": "get_weather", "arguments": ' + _JSON + "}"
ANSWER = 'It is "sunny" 😀. '  # up to the stop string
_ANSWER = f"{ANSWER}END. More."


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    family: str  # of the chat template
    call: str
    reasons: str = ""  # how the model writes its reasoning, with {} for it; empty if it does not reason
    look: str = ""  # text before the call that the client sees
    answer: str = "{}"
    ends: tuple[str, ...] = ()
    vocabulary: Form = "byte-level"
    unclosed: bool = False  # the model may call without ending its reasoning, or reason twice

    @property
    def reasoning(self) -> str:
        return REASONING if self.reasons else ""

    def model(self) -> Path:
        thought = self.reasons.replace("{}", REASONING)
        scripts = {"": f"{thought}Hello."}
        for split in range(SPLITS):
            scripts[f"paris{split}"] = f"{thought}{self.call}"
        if self.unclosed:
            scripts["rome0"] = f"{REASONING}\n{self.call.removeprefix(LOOK)}"
            scripts["nice0"] = f"{thought}{self.call.removeprefix(LOOK).strip()}"
            scripts["lyon0"] = f"{thought}<think>\nOnce more.\n</think>\n\n{_JSON}"
        for split in range(SPLITS):
            scripts[f"sunny{split}"] = thought + self.answer.replace("{}", _ANSWER)
        return scripted_model(scripts, chat_template(self.family), self.vocabulary, ends=self.ends)


_THINK = "<think>\n{}\n</think>\n\n"
_OPENED_THINK = "{}\n</think>\n\n"  # the prompt ends with <think>
_HERMES = f"<tool_call>\n{_OBJECT}\n</tool_call>"
_CODER = (
    "<tool_call>\n<function=get_weather>\n<parameter=city>\n"
    + ARGUMENTS["city"]
    + "\n</parameter>\n</function>\n</tool_call>"
)
_LISTED = f'<tool_calls>[{_OBJECT[:-1]}, "id": "1"}}]</tool_calls>'
_DSML_CALL = (
    '<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">'
    + ARGUMENTS["city"]
    + "</｜DSML｜parameter>\n</｜DSML｜invoke>\n"
)
_ANALYSIS = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant"

DIALECTS = {
    row.family: row
    for row in (
        Dialect(family="qwen3", reasons=_THINK, look=LOOK, call=f"{LOOK}\n{_HERMES}"),
        Dialect(family="gemma2", look=LOOK, call=f"{LOOK}\n{_HERMES}", vocabulary="sentencepiece"),
        Dialect(
            family="qwen3.5",
            reasons=_OPENED_THINK,
            look=LOOK,
            call=f"{LOOK}\n\n{_CODER}",
            ends=("<|im_end|>",),
            unclosed=True,
        ),
        Dialect(
            family="llama3.1",
            call='{"name": "get_weather", "parameters": ' + _JSON + "}",
            ends=("<|eot_id|>",),
        ),
        Dialect(
            family="mistral-nemo",
            call=f'[TOOL_CALLS][{_OBJECT[:-1]}, "id": "123456789"}}]',
            vocabulary="sentencepiece",
            ends=("</s>",),
        ),
        Dialect(
            family="ministral3",
            reasons="[THINK]{}[/THINK]",
            look=LOOK,
            call=f"{LOOK}[TOOL_CALLS]get_weather[ARGS]{_JSON}",
            ends=("</s>",),
        ),
        Dialect(
            family="gpt-oss",
            reasons=_ANALYSIS,
            call="<|channel|>commentary to=functions.get_weather "
            f"<|constrain|>json<|message|>{_JSON}<|call|>",
            answer="<|channel|>final<|message|>{}<|return|>",
            ends=("<|return|>", "<|call|>"),
        ),
        Dialect(family="granite4", look=LOOK, call=f"{LOOK}\n{_HERMES}", ends=("<|end_of_text|>",)),
        Dialect(family="qwen3-coder", look=LOOK, call=f"{LOOK}\n\n{_CODER}"),
        Dialect(
            family="lfm2.5",
            call="<|tool_call_start|>[get_weather(city='Paris, «la ville» 😀')]<|tool_call_end|>",
            ends=("<|im_end|>",),
        ),
        Dialect(family="granite3.3", call=f"<|tool_call|>[{_OBJECT}]", ends=("<|end_of_text|>",)),
        Dialect(
            family="glm4.6",
            reasons="\n<think>{}</think>\n",
            call="<tool_call>get_weather\n<arg_key>city</arg_key>\n"
            f"<arg_value>{ARGUMENTS['city']}</arg_value>\n</tool_call>",
            ends=("<|user|>", "<|observation|>"),
        ),
        Dialect(
            family="kimi-k2",
            call="<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
            f"<|tool_call_argument_begin|>{_JSON}<|tool_call_end|><|tool_calls_section_end|>",
            ends=("<|im_end|>",),
        ),
        Dialect(
            family="deepseek-v3.1",
            call="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
            f"{_JSON}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            ends=("<｜end▁of▁sentence｜>",),
        ),
        Dialect(
            family="minimax-m2",
            reasons=_OPENED_THINK,
            call='<minimax:tool_call>\n<invoke name="get_weather">\n'
            f'<parameter name="city">{ARGUMENTS["city"]}</parameter>\n</invoke>\n</minimax:tool_call>',
            ends=("[e~[",),
        ),
        Dialect(family="nemotron3", reasons=_OPENED_THINK, call=_CODER, ends=("<|im_end|>",)),
        Dialect(
            family="seed-oss",
            reasons="<seed:think>{}</seed:think>",
            look=LOOK,
            call=f"{LOOK}\n<seed:tool_call>\n<function=get_weather>\n<parameter=city>{ARGUMENTS['city']}"
            "</parameter>\n</function>\n</seed:tool_call>",
            ends=("<seed:eos>",),
        ),
        Dialect(
            family="nemotron2",
            reasons=_OPENED_THINK,
            look=LOOK,
            call=f"{LOOK}\n<TOOLCALL>[{_OBJECT}]</TOOLCALL>",
            ends=("<SPECIAL_12>",),
        ),
        Dialect(
            family="apriel1.5",
            reasons="Here are my reasoning steps:\n{}\n[BEGIN FINAL RESPONSE]\n",
            look=LOOK,
            call=f"{LOOK}\n{_LISTED}\n[END FINAL RESPONSE]",
            answer="{}\n[END FINAL RESPONSE]",
            ends=("<|end|>",),
        ),
        Dialect(
            family="apriel1.6",
            reasons="{}\n[BEGIN FINAL RESPONSE]\n",
            look=LOOK,
            call=f"{LOOK}\n{_LISTED}",
            ends=("<|end|>",),
        ),
        Dialect(
            family="minimax-m1",
            look=LOOK,
            call=f"{LOOK}\n<tool_calls>\n{_OBJECT}\n</tool_calls>",
            ends=("<end_of_sentence>",),
        ),
        Dialect(
            family="glm4.7",
            reasons="{}</think>",
            look=LOOK,
            call=f"{LOOK}<tool_call>get_weather<arg_key>city</arg_key>"
            f"<arg_value>{ARGUMENTS['city']}</arg_value></tool_call>",
            ends=("<|user|>", "<|observation|>"),
        ),
        Dialect(
            family="deepseek-r1",
            reasons=_OPENED_THINK,
            look=LOOK,
            call=f"{LOOK}\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
            f"```json\n{_JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            ends=("<｜end▁of▁sentence｜>",),
        ),
        Dialect(
            family="deepseek-v3.2",
            look=LOOK,
            call=f"{LOOK}\n\n<｜DSML｜function_calls>\n{_DSML_CALL}</｜DSML｜function_calls>",
            ends=("<｜end▁of▁sentence｜>",),
        ),
        Dialect(
            family="deepseek-v4",
            look=LOOK,
            call=f"{LOOK}\n\n<｜DSML｜tool_calls>\n{_DSML_CALL}</｜DSML｜tool_calls>",
            ends=("<｜end▁of▁sentence｜>",),
        ),
    )
}
# One of each kind of marks; the others are tried on demand.
USUAL = ("qwen3", "gemma2", "qwen3.5", "gpt-oss")
