"""Calls as families of models write them: of f with the same arguments, several calls, and what is none."""

_ARGUMENTS = '{"a": "}\\"{", "b": [1, {}]}'
_ONE = f'{{"name": "f", "arguments": {_ARGUMENTS}}}'
_NO_ARGUMENTS = '{"name": "f", "arguments": {}}'
_NEW = '{"name": "new", "arguments": {}}'

_SECTION, _SECTION_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_BEGIN, _SEP, _END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
_KIMI, _KIMI_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_DSML = "｜DSML｜"
_V32, _V32_END = f"<{_DSML}function_calls>", f"</{_DSML}function_calls>"
_V4, _V4_END = f"<{_DSML}tool_calls>", f"</{_DSML}tool_calls>"


def _fenced(name: str, arguments: str) -> str:
    return f"{_BEGIN}function{_SEP}{name}\n```json\n{arguments}\n```{_END}"


def _kimi(name: str, arguments: str, index: int = 0) -> str:
    return (
        f"<|tool_call_begin|>functions.{name}:{index}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"
    )


def _dsml(name: str, *parameters: tuple[str, str, str]) -> str:
    written = "".join(
        f'<{_DSML}parameter name="{key}" string="{is_string}">{value}</{_DSML}parameter>\n'
        for key, is_string, value in parameters
    )
    return f'<{_DSML}invoke name="{name}">\n{written}</{_DSML}invoke>\n'


_DSML_CALL = _dsml("f", ("a", "true", '}"{'), ("b", "false", "[1, {}]"))
_INVOKED = (
    '<invoke name="f">\n<parameter name="a">}"{</parameter>\n'
    '<parameter name="b">[1, {}]</parameter>\n</invoke>\n'
)
_GLM = "<arg_key>{}</arg_key>{}<arg_value>{}</arg_value>{}"
_GLM_VALUES = (("a", '}"{'), ("b", "[1, {}]"))

CALLS = {
    "lfm2": [
        "<|tool_call_start|>[f(a='}\"{', b=[1, {}])]<|tool_call_end|><|im_end|>",
        f"<|tool_call_start|>[{_ONE}]<|tool_call_end|>",
        "<|tool_call_start|>f(a='}\"{', b=[1, {}])<|tool_call_end|>",
        "[f(a='}\"{', b=[1, {}])]",
    ],
    "granite": [f"<|tool_call|>[{_ONE}]<|end_of_text|>", f"<|tool_call|> {_ONE}", f"<tool_call>[{_ONE}]"],
    "nemotron_json": [f"<TOOLCALL>[{_ONE}]</TOOLCALL>", f"<TOOLCALL>\n{_ONE}\n</TOOLCALL>\n<SPECIAL_12>"],
    "minimax": [f"<tool_calls>\n{_ONE}\n</tool_calls>", f"<tool_calls>[{_ONE}]</tool_calls>"],
    "apriel": [f"<tool_calls>[{_ONE}]</tool_calls>", f'<tool_calls>[{_ONE[:-1]}, "id": "1"}}]</tool_calls>'],
    "deepseek_v3": [
        f"{_SECTION}{_fenced('f', _ARGUMENTS)}{_SECTION_END}<｜end▁of▁sentence｜>",
        f"{_SECTION}\n{_fenced('f', _ARGUMENTS)}",
        _fenced("f", _ARGUMENTS),
    ],
    "deepseek_v31": [
        f"{_SECTION}{_BEGIN}f{_SEP}{_ARGUMENTS}{_END}{_SECTION_END}<｜end▁of▁sentence｜>",
        f"{_SECTION}{_BEGIN}f{_SEP}```json\n{_ARGUMENTS}\n```{_END}{_SECTION_END}",
        f"{_SECTION}{_BEGIN}f{_SEP}{_ARGUMENTS}{_SECTION_END}",
        f"{_BEGIN}f{_SEP}{_ARGUMENTS}",
    ],
    "kimi_k2": [
        f"{_KIMI}{_kimi('f', _ARGUMENTS)}{_KIMI_END}<|im_end|>",
        f"{_KIMI}\n{_kimi('f', _ARGUMENTS, 12)}\n{_KIMI_END}",
        _kimi("f", _ARGUMENTS).replace("functions.", ""),
    ],
    "deepseek_v32": [f"{_V32}\n{_DSML_CALL}{_V32_END}<｜end▁of▁sentence｜>", f"{_V32}{_DSML_CALL}"],
    "deepseek_v4": [f"{_V4}\n{_DSML_CALL}{_V4_END}"],
    "minimax_m2": [
        f"<minimax:tool_call>\n{_INVOKED}</minimax:tool_call>[e~[",
        f"<minimax:tool_call>{_INVOKED}",
    ],
    "glm45": [
        "<tool_call>f\n"
        + "".join(_GLM.format(key, "\n", text, "\n") for key, text in _GLM_VALUES)
        + "</tool_call>",
        "<tool_call>f"
        + "".join(_GLM.format(key, "", text, "") for key, text in _GLM_VALUES)
        + "</tool_call>\n",
    ],
    "seed_oss": [
        '<seed:tool_call>\n<function=f>\n<parameter=a>}"{</parameter>\n<parameter=b>[1, {}]</parameter>\n'
        "</function>\n</seed:tool_call><seed:eos>",
    ],
}
CALLS["glm47"] = CALLS["glm45"][::-1]

SEVERAL = {
    "lfm2": "<|tool_call_start|>[f(), new()]<|tool_call_end|>",
    "granite": f"<|tool_call|>[{_NO_ARGUMENTS}, {_NEW}]",
    "nemotron_json": f"<TOOLCALL>[{_NO_ARGUMENTS}, {_NEW}]</TOOLCALL>",
    "minimax": f"<tool_calls>\n{_NO_ARGUMENTS}\n{_NEW}\n</tool_calls>",
    "apriel": f"<tool_calls>[{_NO_ARGUMENTS}, {_NEW}]</tool_calls>",
    "deepseek_v3": f"{_SECTION}{_fenced('f', '{}')}\n{_fenced('new', '{}')}{_SECTION_END}",
    "deepseek_v31": f"{_SECTION}{_BEGIN}f{_SEP}{{}}{_END}{_BEGIN}new{_SEP}{{}}{_END}{_SECTION_END}",
    "kimi_k2": f"{_KIMI}{_kimi('f', '{}')}{_kimi('new', '{}', 1)}{_KIMI_END}",
    "deepseek_v32": f"{_V32}\n{_dsml('f')}{_dsml('new')}{_V32_END}",
    "deepseek_v4": f"{_V4}\n{_dsml('f')}{_dsml('new')}{_V4_END}",
    "minimax_m2": '<minimax:tool_call>\n<invoke name="f">\n</invoke>\n<invoke name="new">\n</invoke>\n'
    "</minimax:tool_call>",
    "glm45": "<tool_call>f\n</tool_call>\n<tool_call>new\n</tool_call>",
    "glm47": "<tool_call>f</tool_call><tool_call>new</tool_call>",
    "seed_oss": "<seed:tool_call><function=f></function></seed:tool_call>\n"
    "<seed:tool_call>\n<function=new>\n</function>\n</seed:tool_call>",
}

MALFORMED = {
    "lfm2": [
        "<|tool_call_start|>[f(1)]",
        "<|tool_call_start|>[f(a=",
        "<|tool_call_start|>none",
        "[unknown(a=1)]",
        "List of tools: [f]",
    ],
    "granite": ["<|tool_call|>none", "<|tool_call|>[{", '<|tool_call|>[{"name": "f", "arguments": [1]}]'],
    "nemotron_json": [
        "<TOOLCALL>[]</TOOLCALL>",
        f"<TOOLCALL>[{_NO_ARGUMENTS}] and more",
        f"<TOOLCALL>[{_NO_ARGUMENTS}",
        "<TOOLC",
    ],
    "minimax": ["<tool_calls>none</tool_calls>", f"<tool_calls>\n{_NO_ARGUMENTS}\nmore"],
    "apriel": ["<tool_calls>[1]</tool_calls>"],
    "deepseek_v3": [
        f"{_SECTION}none",
        f"{_SECTION}{_BEGIN}function{_SEP}f\n```json\n[1]",
        f"{_SECTION}{_BEGIN}function{_SEP}f\n```json\n{{",
        f"{_BEGIN}{_SEP}{{}}{_END}",
        "<｜tool▁cal",
    ],
    "deepseek_v31": [
        f"{_SECTION}{_BEGIN}f{_SEP}{{}} more",
        f"{_SECTION}{_BEGIN}f",
        f"{_SECTION}{_BEGIN}f{_SEP}",
    ],
    "kimi_k2": [
        f"{_KIMI}{_KIMI_END}",
        "<|tool_call_begin|>functions.f:0",
        _kimi("", "{}").replace("functions.:0", ""),
    ],
    "deepseek_v32": [
        f"{_V32}\n{_V32_END}",
        f"{_V32}\n{_DSML_CALL[:-12]}",
        f"{_V32}{_dsml('f', ('a', 'true', 'x'), ('a', 'true', 'y'))}",
        f'{_V32}<{_DSML}invoke name="f">none</{_DSML}invoke>',
    ],
    "minimax_m2": [
        '<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">x',
        "<minimax:tool_call>\n<invoke name=f>\n</invoke>",
        "<minimax:tool_call>none</minimax:tool_call>",
    ],
    "glm45": [
        "<tool_call>f",
        "<tool_call>f\n<arg_key>a</arg_key>",
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>",
        "<tool_call>f g</tool_call>",
        "<tool_call>...</tool_call>",
        "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value><arg_key>a</arg_key><arg_value>1</arg_value>",
    ],
    "seed_oss": ["<seed:tool_call>{}</seed:tool_call>", "<seed:tool_call><function=f></function>more"],
}
