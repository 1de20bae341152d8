"""MiniMax M2: <invoke> tags in a <minimax:tool_call> section."""

from frontend.parsing.invocations import Invocations


class MiniMaxM2(Invocations):
    name = "minimax_m2"
    section = ("<minimax:tool_call>", "</minimax:tool_call>")
    starts = (section[0],)
    turn_ends = ("[e~[",)
