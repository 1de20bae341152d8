"""Seed-OSS: what Qwen3-Coder writes, in tags of its own."""

from frontend.parsing.qwen3_coder import Qwen3Coder


class SeedOss(Qwen3Coder):
    name = "seed_oss"
    starts = ("<seed:tool_call>", "<function=")
    end = "</seed:tool_call>"
    needs_special_tokens = True
    turn_ends = ("<seed:eos>",)
