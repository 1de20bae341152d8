"""The parameter table names every text parameter that OpenAI's client sends, and vLLM's besides."""

import re
from pathlib import Path
from typing import get_type_hints

import pytest
from openai.types import completion_create_params as completions
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses

README = (Path(__file__).parent.parent / "README.md").read_text()
TABLE = re.search(r"^## Parameters\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
# What vLLM's documentation adds to OpenAI's parameters of text endpoints.
VLLM = """
add_generation_prompt add_special_tokens allowed_token_ids bad_words best_of cache_salt chat_template
chat_template_kwargs continue_final_message detokenize documents echo ignore_eos include_reasoning
include_stop_str_in_output kv_transfer_params length_penalty logits_processors min_p min_tokens
mm_processor_kwargs priority prompt_embeds prompt_logprobs repetition_penalty request_id
return_token_ids return_tokens_as_token_ids skip_special_tokens spaces_between_special_tokens stop_token_ids
structured_outputs thinking_token_budget top_k truncate_prompt_tokens use_beam_search vllm_xargs
""".split()  # noqa: SIM905 - a list of literals would be no easier to read


def parameters(*structs: type) -> set[str]:
    return {name for struct in structs for name in get_type_hints(struct)}


@pytest.mark.parametrize(
    "wanted",
    [
        parameters(chat.CompletionCreateParamsNonStreaming, chat.CompletionCreateParamsStreaming),
        parameters(
            completions.CompletionCreateParamsNonStreaming, completions.CompletionCreateParamsStreaming
        ),
        parameters(responses.ResponseCreateParamsNonStreaming, responses.ResponseCreateParamsStreaming),
        set(VLLM),
    ],
    ids=["chat", "completions", "responses", "vllm"],
)
def test_every_parameter_is_in_the_table(wanted):
    assert TABLE is not None
    named = set(re.findall(r"`([a-z_.]+)`", TABLE[1]))
    assert wanted
    assert not wanted - named
