"""Decoding bodies: every mistake is a 400 that names the field."""

import codecs
import importlib
import pkgutil
from typing import Annotated, Any, Literal

import msgspec
import msgspec.inspect
import pytest

from frontend.allowed_values import _allowed as allowed_values
from frontend.api import schema
from frontend.api.body import converted, decode
from frontend.api.chat import turn_spec
from frontend.api.completions import prompts_of
from frontend.api.completions import specs_of as completion_specs_of
from frontend.api.json_depth import MOST_LEVELS
from frontend.api.schema import chat, common
from frontend.api.schema.chat import ChatRequest
from frontend.api.schema.common import check_stream_options, refuse_unsupported
from frontend.api.schema.completions import CompletionRequest
from frontend.api.schema.patterns import WORDS
from frontend.api.schema.responses import ResponsesRequest
from frontend.errors import BadRequest
from ipc.messages import TextPrompt, TokenPrompt, ToolCall

CHAT = msgspec.json.Decoder(ChatRequest)
COMPLETION = msgspec.json.Decoder(CompletionRequest)
RESPONSES = msgspec.json.Decoder(ResponsesRequest)
HI = '"messages":[{"role":"user","content":"hi"}]'


def refused(body: bytes, decoder: msgspec.json.Decoder = CHAT) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        decode(body, decoder)
    return caught.value


def test_a_byte_order_mark_is_passed_over():
    assert decode(codecs.BOM_UTF8 + f'{{"model":"m",{HI}}}'.encode(), CHAT).model == "m"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ('"model":"m"', "messages"),
        (f"{HI}", "model"),
        ('"model":"m","messages":[]', "messages"),
        ('"model":"m","messages":"hi"', "messages"),
        ('"model":"m","messages":[{"role":"alien","content":"x"}]', "messages[0].role"),
        ('"model":"m","messages":[{"role":"user","content":5}]', "messages[0].content"),
        (f'"model":"m",{HI},"temperature":"hot"', "temperature"),
        (f'"model":"m",{HI},"temperature":-1', "temperature"),
        (f'"model":"m",{HI},"temperature":1e999', "temperature"),
        (f'"model":"m",{HI},"temperature":NaN', "temperature"),
        (f'"model":"m",{HI},"top_p":1.5', "top_p"),
        (f'"model":"m",{HI},"max_tokens":0', "max_tokens"),
        (f'"model":"m",{HI},"max_tokens":1e30', "max_tokens"),
        (f'"model":"m",{HI},"max_tokens":{10**40}', "max_tokens"),
        (f'"model":"m",{HI},"n":0', "n"),
        (f'"model":"m",{HI},"n":1000', "n"),
        (f'"model":"m",{HI},"seed":{2**63}', "seed"),
        (f'"model":"m",{HI},"stop":[""]', "stop[0]"),
        (f'"model":"m",{HI},"stop":{["x"] * 33}'.replace("'", '"'), "stop"),
        (f'"model":"m",{HI},"stream":"yes"', "stream"),
        (f'"model":"m",{HI},"presence_penalty":3', "presence_penalty"),
        (f'"model":"m",{HI},"min_tokens":-1', "min_tokens"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    error = refused(b"{" + fields.encode() + b"}")
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"{]", b'{"model":"m",}'])
def test_what_is_no_json_object_is_refused(body):
    assert refused(body).status == 400


def test_a_wrong_key_is_named_by_its_field():
    error = refused(b'{"model":"m","input":"hi","metadata":{"%s":""}}' % (b"k" * 65), RESPONSES)
    assert (error.param, str(error)) == ("metadata", "metadata: Expected `str` of length <= 64 as a key")


def test_a_missing_field_is_said_to_be_missing():
    assert refused(b'{"model":"m"}').message == "messages is missing"
    error = refused(b'{"model":"m","messages":[{"content":"x"}]}')
    assert (error.message, error.param) == ("messages[0].role is missing", "messages[0].role")


@pytest.mark.parametrize("depth", [MOST_LEVELS, 990, 5_000])
@pytest.mark.parametrize(
    ("begin", "end", "param"),
    [
        (b"[", b"]", "tools[0]"),
        (b'{"a{[\\"":', b"}", "tools"),
        (b'[[1,2],{"b":[]},', b"]", "tools[2]"),
    ],
)
def test_what_is_nested_too_deeply_is_named(depth, begin, end, param):
    deep = begin * depth + b"1" + end * depth
    error = refused(b'{"x":[{}],"model":"m","tools":' + deep + b',"messages":[]}')
    assert error.message == f"{param} is nested more than {MOST_LEVELS} levels deep"
    assert error.param == param


def test_what_is_not_too_deep_is_taken():
    depth = MOST_LEVELS - 1
    deep = b'{"a":' * depth + b'"' + b"[" * 999 + b'"' + b"}" * depth
    assert decode(b'{"x":' + deep + b',"model":"m",' + HI.encode() + b"}", CHAT).model == "m"
    wide = b"[" + b",".join([b"[[]]"] * 300) + b"]"
    assert decode(b'{"x":' + wide + b',"model":"m",' + HI.encode() + b"}", CHAT).model == "m"


def test_deep_json_is_refused():
    for depth in (500, 100_000):
        deep = b"[" * depth + b"]" * depth
        assert refused(b'{"model":"m","messages":' + deep + b"}").status == 400


def test_deep_json_in_an_ignored_field_is_refused_or_ignored_but_never_a_crash():
    deep = b"[" * 100_000 + b"]" * 100_000
    assert refused(b'{"x":' + deep + b',"model":"m"}').status == 400


def test_invalid_utf8_is_refused():
    assert refused(b'{"model":"\xff\xfe",' + HI.encode() + b"}").status == 400


def test_unknown_fields_are_ignored_and_null_is_the_default():
    body = decode(f'{{"model":"m",{HI},"user":"u","brand_new":1,"top_p":null}}'.encode(), CHAT)
    assert body.top_p is None


@pytest.mark.parametrize(("name", "harmless"), chat.UNSUPPORTED.items())
def test_a_chat_parameter_we_cannot_honour_is_refused_by_name(name, harmless):
    for value in harmless:
        refuse_unsupported(
            msgspec.convert(
                {"model": "m", "messages": [{"role": "user", "content": ""}], name: value}, ChatRequest
            ),
            chat.UNSUPPORTED,
        )
    request = decode(f'{{"model":"m",{HI},"{name}":{{"type":"other"}}}}'.encode(), CHAT)
    with pytest.raises(BadRequest) as caught:
        refuse_unsupported(request, chat.UNSUPPORTED)
    assert caught.value.param == name


@pytest.mark.parametrize("name", common.UNSUPPORTED)
def test_a_completion_parameter_we_cannot_honour_is_refused_by_name(name):
    request = decode(f'{{"model":"m","prompt":"x","{name}":{{"a":5}}}}'.encode(), COMPLETION)
    with pytest.raises(BadRequest) as caught:
        refuse_unsupported(request, common.UNSUPPORTED)
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("decoder", "fields", "param"),
    [
        (CHAT, {"logprobs": True, "top_logprobs": 1}, "top_logprobs"),
        (COMPLETION, {"logprobs": 2}, "logprobs"),
        (COMPLETION, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"session_id": "s", "n": 2}, "n"),
        (CHAT, {"add_generation_prompt": True, "continue_final_message": True}, "continue_final_message"),
        (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
        (CHAT, {"functions": [{"name": "f"}]}, "functions"),
        (CHAT, {"guided_regex": "a"}, "guided_regex"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(decoder, fields, param):
    base = {"model": "m", "prompt": "x", "messages": [{"role": "user", "content": "hi"}]}
    body = decoder.decode(msgspec.json.encode(base | fields))
    with pytest.raises(BadRequest) as caught:
        turn_spec(body) if isinstance(body, ChatRequest) else completion_specs_of(body)
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user"}, "messages[0].content"),
        ({"role": "assistant"}, "messages[0].content"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        (
            {
                "role": "user",
                "content": "x",
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}],
            },
            "messages[0].tool_calls",
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]},
            "messages[0].content[0].type",
        ),
        (
            {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "messages[0].content[0].type",
        ),
        ({"role": "user", "content": [{"type": "video_url"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "file"}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
    ],
)
def test_a_message_that_cannot_be_honoured_is_named(message, param):
    with pytest.raises(BadRequest) as caught:
        turn_spec(chat_request(messages=[message]))
    assert caught.value.param == param


def test_stream_options_need_a_stream():
    request = decode(f'{{"model":"m",{HI},"stream_options":{{"include_usage":true}}}}'.encode(), CHAT)
    with pytest.raises(BadRequest, match="stream_options"):
        check_stream_options(request)


def chat_request(**fields: object) -> ChatRequest:
    return msgspec.convert(
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}, ChatRequest
    )


def test_seed_zero_counts_and_every_choice_has_its_own():
    assert [sampling.seed for sampling in turn_spec(chat_request(seed=0, n=3)).samplings] == [0, 1, 2]
    assert turn_spec(chat_request()).samplings[0].seed is None


def test_an_empty_nucleus_is_greedy():
    sampling = turn_spec(chat_request(top_p=0, temperature=1.5)).samplings[0]
    assert (sampling.temperature, sampling.top_p) == (0.0, None)


def test_max_completion_tokens_is_the_newer_name():
    assert turn_spec(chat_request(max_completion_tokens=5)).samplings[0].max_tokens == 5
    assert turn_spec(chat_request(max_tokens=6)).samplings[0].max_tokens == 6


def test_min_tokens_above_max_tokens_is_refused():
    with pytest.raises(BadRequest, match="min_tokens"):
        turn_spec(chat_request(max_tokens=5, min_tokens=6))


def test_text_parts_are_joined_and_a_developer_is_the_system():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    (message,) = turn_spec(chat_request(messages=[{"role": "developer", "content": parts}])).messages
    assert (message.role, message.content) == ("system", "a\nb")


def test_calls_and_their_results_go_on_to_the_template():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    asked, answered = turn_spec(
        chat_request(
            messages=[
                {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"},
                {"role": "tool", "content": "42", "tool_call_id": "c1"},
            ]
        )
    ).messages
    assert (asked.content, asked.reasoning) == (None, "hm")
    assert asked.tool_calls == [ToolCall("c1", "f", '{"a": 1}')]
    assert (answered.role, answered.tool_call_id) == ("tool", "c1")


@pytest.mark.parametrize(
    ("said", "content"),
    [({"reasoning_content": "hm"}, None), ({"reasoning": "hm"}, None), ({"refusal": "no"}, "no")],
)
def test_an_assistant_may_have_reasoned_or_refused_without_content(said, content):
    (message,) = turn_spec(chat_request(messages=[{"role": "assistant", "content": None, **said}])).messages
    assert message.content == content


@pytest.mark.parametrize("role", ["user", "system", "assistant"])
def test_a_message_that_says_nothing_lacks_its_content(role):
    with pytest.raises(BadRequest, match="content is missing"):
        turn_spec(chat_request(messages=[{"role": role, "content": None}]))


def test_a_prompt_may_be_text_or_tokens_or_several_of_either():
    assert prompts_of("a") == [TextPrompt("a")]
    assert prompts_of(["a", "b"]) == [TextPrompt("a"), TextPrompt("b")]
    assert prompts_of([1, 2]) == [TokenPrompt([1, 2])]
    assert prompts_of([[1], [2, 3]]) == [TokenPrompt([1]), TokenPrompt([2, 3])]


@pytest.mark.parametrize("prompt", ["", [], [""], ["a", 1], [[1], "a"], [[]], [1, [2]]])
def test_an_empty_or_mixed_prompt_is_refused(prompt):
    with pytest.raises(BadRequest) as caught:
        prompts_of(prompt)
    assert caught.value.param == "prompt"


def test_choices_of_several_prompts_come_prompt_by_prompt():
    request = msgspec.convert({"model": "m", "prompt": ["a", "b"], "n": 2}, CompletionRequest)
    assert [spec.prompt_index for spec in completion_specs_of(request)] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ('"session_id":""', "session_id: Expected `str` of 1 to 200 ASCII characters without blanks"),
        ('"session_id":"a b"', "session_id: Expected `str` of 1 to 200 ASCII characters without blanks"),
        (
            r'"tools":[{"type":"function","function":{"name":"a\n"}}]',
            "tools[0].function.name: Expected `str` of 1 to 128 letters, digits, _, . or -",
        ),
    ],
)
def test_a_regular_expression_is_said_in_words(fields, words):
    assert str(refused(f'{{"model":"m",{HI},{fields}}}'.encode())) == words


def _schemas() -> list[type]:
    modules = [
        importlib.import_module(f"{schema.__name__}.{module.name}")
        for module in pkgutil.iter_modules(schema.__path__)
    ]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
    ]


def _patterns(info: Any, seen: set[int]) -> set[str]:
    """Those in a type and in all that it is made of."""
    if isinstance(info, (list, tuple)):
        return set().union(*(_patterns(item, seen) for item in info))
    if not isinstance(info, msgspec.Struct) or id(info) in seen:
        return set()
    seen.add(id(info))
    found = {info.pattern} if isinstance(info, msgspec.inspect.StrType) and info.pattern else set()
    return found | _patterns([getattr(info, name) for name in info.__struct_fields__], seen)


def test_every_regular_expression_of_the_schemas_has_words():
    infos = msgspec.inspect.multi_type_info(_schemas())
    assert _patterns(infos, set()) == set(WORDS)


@pytest.mark.parametrize(
    ("text", "half"),
    [
        (r"\ud800", r"\ud800"),
        (r"x \uDC00 y", r"\uDC00"),
        (r"\ud83d\ude00\ud83d", r"\ud83d"),
        (r"\ud800\u0041", r"\ud800"),
        (r"\\\ud800\n", r"\ud800"),
    ],
)
@pytest.mark.parametrize("length", [0, 20_000])
def test_half_a_surrogate_pair_is_called_that_and_named(text, half, length):
    body = f'{{"model":"m","prompt":["{"x" * length}","{text}"]}}'
    with pytest.raises(BadRequest, match="half of a surrogate pair") as caught:
        decode(body.encode(), COMPLETION)
    at = body.rindex(half) if half in (r"\ud83d",) else body.index(half)
    assert caught.value.message.startswith(f"byte {at}: {half}" if length else f"prompt[1]: {half}")


@pytest.mark.parametrize("text", [r"\\ud800", r"\ud83d\ude00"])
def test_what_only_looks_like_half_a_pair_is_text(text):
    assert decode(f'{{"model":"m","prompt":"{text}"}}'.encode(), COMPLETION).prompt
    error = refused(f'{{"model":"m","prompt":"{text}",}}'.encode(), COMPLETION)
    assert "the body is not valid JSON" in str(error), "whatever else is wrong"


@pytest.mark.parametrize(
    ("body", "decoder", "message"),
    [
        (
            f'{{"model":"m",{HI},"messages":[{{"role":"alien","content":"x"}}]}}',
            CHAT,
            "messages[0].role: must be one of assistant, developer, system, tool, user, not 'alien'",
        ),
        (
            f'{{"model":"m",{HI},"messages":[{{"role":"{"x" * 500}","content":"x"}}]}}',
            CHAT,
            "messages[0].role: must be one of assistant, developer, system, tool, user, not "
            + f"'{'x' * 58}…",
        ),
        (
            '{"model":"m","input":"x","truncation":1}',
            RESPONSES,
            "truncation: Expected `str | null`, got `int`",
        ),
        (
            '{"model":"m","input":"x","truncation":"no"}',
            RESPONSES,
            "truncation: must be auto or disabled, not 'no'",
        ),
        (
            '{"model":"m","input":"x","reasoning":{"effort":"x"}}',
            RESPONSES,
            "reasoning.effort: must be one of high, low, max, medium, minimal, none, xhigh, not 'x'",
        ),
    ],
)
def test_a_value_that_is_none_of_the_allowed_ones_is_answered_with_these(body, decoder, message):
    error = refused(body.encode(), decoder)
    assert (error.message, error.param) == (message, message.partition(":")[0])


class Ball(msgspec.Struct, tag="ball"):
    size: Literal[1, 2] | None = None


class Cube(msgspec.Struct, tag="cube"):
    size: Literal[3] | None = None


class Box(msgspec.Struct):
    things: list[Ball | Cube] = []
    colours: dict[str, Annotated[Literal["red", "blue"], msgspec.Meta(title="Colour")]] = {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"things":[{"type":"cone"}]}', "things[0].type: must be ball or cube, not 'cone'"),
        (b'{"things":[{"type":"cube","size":7}]}', "things[0].size: must be one of 1, 2, 3, not 7"),
        (b'{"colours":{"a":"green"}}', "colours[...]: must be blue or red, not 'green'"),
    ],
)
def test_allowed_values_are_found_in_alternatives_and_containers(body, message):
    assert refused(body, msgspec.json.Decoder(Box)).message == message


def test_allowed_values_are_looked_up_once_for_all_items_of_a_list():
    before = allowed_values.cache_info().misses
    for number in range(5):
        things = b'{"type":"cube"},' * number + b'{"type":"cube","size":7}'
        assert "must be" in refused(b'{"things":[%b]}' % things, msgspec.json.Decoder(Box)).message
    assert allowed_values.cache_info().misses - before <= 1


def test_no_request_is_refused_in_the_decoders_words_for_what_may_be_chosen():
    checked = 0
    for module in pkgutil.iter_modules(schema.__path__):
        loaded = importlib.import_module(f"{schema.__name__}.{module.name}")
        for kind in vars(loaded).values():
            if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or kind is msgspec.Struct:
                continue
            for field in msgspec.structs.fields(kind):
                try:
                    converted({field.encode_name: "nosuch"}, kind, "body")
                except BadRequest as error:
                    assert "Invalid enum" not in error.message, (kind, field.name)
                    checked += "must be" in error.message
    assert checked > 20
