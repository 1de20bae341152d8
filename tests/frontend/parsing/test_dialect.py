"""Detecting a model's formats from its chat template, and choosing a parser."""

import pytest

from frontend.parsing import REASONING_FORMAT_NAMES, TOOL_FORMAT_NAMES, detect, parser_for, tool_format
from tests.frontend.parsing.parsed import FUNCTIONS
from tests.models.templates import chat_template, real_templates

DIALECTS = {
    "Apertus-8B-Instruct": (None, None),
    "Apriel-1.6-15b-Thinker-fixed": ("apriel", "apriel"),
    "Bielik-11B-v3.0-Instruct": ("hermes", "think"),
    "ByteDance-Seed-OSS": ("seed_oss", "seed"),
    "Cohere2MoE": (None, "cohere"),
    "CohereForAI-c4ai-command-r-plus-tool_use": (None, None),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": (None, "cohere"),
    "GLM-4.6": ("glm45", "think"),
    "GLM-4.7-Flash": ("glm47", "think"),
    "GigaChat3-10B-A1.8B": (None, None),
    "GigaChat3.1-10B-A1.8B": (None, None),
    "HuggingFaceTB-SmolLM3-3B": (None, "think"),
    "Kimi-K2-Instruct": ("kimi_k2", None),
    "Kimi-K2-Thinking": ("kimi_k2", "think"),
    "Kimi-K3": (None, None),
    "LFM2-8B-A1B": ("lfm2", None),
    "LFM2.5-8B-A1B": ("lfm2", "think"),
    "LFM2.5-Instruct": ("lfm2", "think"),
    "MiMo-VL": ("hermes", None),
    "MiniMax-M1": ("minimax", None),
    "MiniMax-M2": ("minimax_m2", "think"),
    "MiniMax-M3": (None, None),
    "Mistral-Small-3.2-24B-Instruct-2506": ("mistral", None),
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": ("qwen3_coder", "think"),
    "NVIDIA-Nemotron-Nano-v2": ("nemotron_json", "think"),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": ("hermes", None),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": ("hermes", None),
    "Qwen-QwQ-32B": ("hermes", "think"),
    "Qwen-Qwen2.5-7B-Instruct": ("hermes", None),
    "Qwen-Qwen3-0.6B": ("hermes", "think"),
    "Qwen3-Coder": ("qwen3_coder", None),
    "Qwen3.5-4B": ("qwen3_coder", "think"),
    "Reka-Edge": ("hermes", "think"),
    "Spark2.5": ("glm47", "think"),
    "StepFun3.5-Flash": ("qwen3_coder", "think"),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": ("deepseek_v3", "think"),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ("deepseek_v3", "think"),
    "deepseek-ai-DeepSeek-V3.1": ("deepseek_v31", "think"),
    "deepseek-ai-DeepSeek-V3.2": ("deepseek_v32", "think"),
    "deepseek-ai-DeepSeek-V4-Flash-0731": ("deepseek_v4", "think"),
    "deepseek-ai-DeepSeek-V4": ("deepseek_v4", "think"),
    "fireworks-ai-llama-3-firefunction-v2": (None, None),
    "google-gemma-2-2b-it": (None, None),
    "google-gemma-4-31B-it-interleaved": (None, "gemma"),
    "google-gemma-4-31B-it": (None, "gemma"),
    "ibm-granite-granite-3.3-2B-Instruct": ("granite", "think"),
    "ibm-granite-granite-4.0": ("hermes", None),
    "ibm-granite-granite-4.1": ("hermes", None),
    "inclusionai-ling-3.0-flash": ("glm45", "think"),
    "llama-cpp-deepseek-r1": ("deepseek_v3", "think"),
    "llama-cpp-rwkv-world": (None, "think"),
    "llm-jp-llm-jp-4.1-8b-thinking": ("harmony", "harmony"),
    "meetkai-functionary-medium-v3.1": (None, None),
    "meetkai-functionary-medium-v3.2": (None, None),
    "meta-llama-Llama-3.1-8B-Instruct": ("llama3_json", None),
    "meta-llama-Llama-3.2-3B-Instruct": ("llama3_json", None),
    "meta-llama-Llama-3.3-70B-Instruct": ("llama3_json", None),
    "microsoft-Phi-3.5-mini-instruct": (None, None),
    "mistralai-Ministral-3-14B-Reasoning-2512": ("mistral", "mistral"),
    "mistralai-Mistral-Nemo-Instruct-2407": ("mistral", None),
    "moonshotai-Kimi-K2": ("kimi_k2", None),
    "muse-glimmer": (None, None),
    "openai-gpt-oss-120b": ("harmony", "harmony"),
    "openbmb-MiniCPM5-1B": (None, "think"),
    "poolside-Laguna-S-2.1": ("glm47", "think"),
    "poolside-Laguna-XS-2.1": ("glm45", "think"),
    "poolside-Laguna-XS.2": ("glm45", "think"),
    "tencent-Hy3": (None, None),
    "unsloth-Apriel-1.5": ("apriel", "apriel"),
    "unsloth-mistral-Devstral-Small-2507": ("mistral", None),
    "upstage-Solar-Open-100B": (None, None),
}
# Templates with tools in a form that no parser reads. Their models get tools explained as text.
UNREAD = {
    "Apertus-8B-Instruct",
    "Cohere2MoE",
    "CohereForAI-c4ai-command-r-plus-tool_use",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "GigaChat3-10B-A1.8B",
    "GigaChat3.1-10B-A1.8B",
    "Kimi-K3",
    "MiniMax-M3",
    "fireworks-ai-llama-3-firefunction-v2",
    "google-gemma-4-31B-it-interleaved",
    "google-gemma-4-31B-it",
    "meetkai-functionary-medium-v3.1",
    "meetkai-functionary-medium-v3.2",
    "muse-glimmer",
    "openbmb-MiniCPM5-1B",
    "tencent-Hy3",
    "upstage-Solar-Open-100B",
}
SPECIAL_MARKS = {
    *("llama3_json", "pythonic", "lfm2", "mistral", "harmony", "granite", "nemotron_json", "kimi_k2"),
    *("deepseek_v3", "deepseek_v31", "deepseek_v32", "deepseek_v4", "minimax_m2", "seed_oss"),
}


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_the_formats_of_a_family_are_detected_from_its_template(name):
    dialect = detect(real_templates()[name])
    found = (dialect.tool_format, dialect.reasoning)
    assert tuple(form and form.name for form in found) == DIALECTS[name]


def test_every_template_with_tools_is_read_or_known_to_be_unread():
    dialects = {name: detect(source) for name, source in real_templates().items()}
    assert {name for name, dialect in dialects.items() if dialect.is_unread} == UNREAD
    toolless = {name for name, one in dialects.items() if one.tool_format is None} - UNREAD
    assert toolless == {
        *("HuggingFaceTB-SmolLM3-3B", "google-gemma-2-2b-it", "llama-cpp-rwkv-world"),
        "microsoft-Phi-3.5-mini-instruct",
    }
    assert dialects.keys() == DIALECTS.keys()


def test_a_template_may_show_calls_without_listing_tools():
    unlisted = {name for name, source in real_templates().items() if not detect(source).tools_variable}
    assert {name for name in unlisted if DIALECTS[name][0]} == {
        "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
        "deepseek-ai-DeepSeek-V3.1",
    }
    assert detect("{% if xml_tools %}<tool_call>").tools_variable == "xml_tools"
    assert detect("{% if xml_tools or tools %}<tool_call>").tools_variable == "tools"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("{{ '<|python_start|>' }}", "pythonic"),
        ("format [func_name1(params_name1=params_value1), func_name2(params)]", "pythonic"),
        (r'{{ "{\"name\": function name, \"parameters\": dictionary" }}', "llama3_json"),
        (r"<tool_call>\n{\"name\": NAME, \"arguments\": OBJECT}\n</tool_call>", "hermes"),
        ("{{ messages }}", None),
        ("", None),
    ],
)
def test_other_signs_of_a_tool_format(source, name):
    form = detect(source).tool_format
    assert (form and form.name) == name


def test_named_formats_override_detected_ones():
    source = chat_template("qwen3")
    named = detect(source, "mistral", "kimi")
    assert named.tool_format is tool_format("mistral")
    assert named.reasoning_markers == ["◁think▷", "◁/think▷"]
    off = detect(source, "none", "none")
    assert (off.tool_format, off.reasoning, off.reasoning_markers) == (None, None, [])


@pytest.mark.parametrize("names", [("hermess", None), (None, "thinks")])
def test_an_unknown_name_is_an_error(names):
    with pytest.raises(KeyError):
        detect("", *names)


def test_every_listed_name_is_known():
    for name in TOOL_FORMAT_NAMES:
        detect("", name)
    for name in REASONING_FORMAT_NAMES:
        detect("", None, name)


def test_there_is_no_parser_if_all_text_is_content():
    assert parser_for(detect(""), tools=FUNCTIONS, prompt_tail="", eager=False) is None
    assert parser_for(detect("", "hermes", "none"), tools=None, prompt_tail="", eager=False) is None
    assert parser_for(detect("", "none", "harmony"), tools=None, prompt_tail="", eager=False) is not None


def test_special_tokens_are_needed_if_marks_are_special_tokens():
    for name, source in real_templates().items():
        form, reasoning = DIALECTS[name]
        special = form in SPECIAL_MARKS or reasoning in ("seed", "gemma", "cohere", "mistral", "harmony")
        assert detect(source).needs_special_tokens == special, name
