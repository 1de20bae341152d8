"""The graph of a language model that follows rules: next token = f(current token, what the text contains).

One layer of attention with equal weights sees whether a token with a certain feature is in the text. That
holds whatever precision attention and its cache have, since a share is either 0 or not.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_LEAD = 60.0  # of the token that a rule wants over all others, as logits
_LEAST_SHARE = 1e-6  # of the tokens of a text; less is none


class Rule(NamedTuple):
    """Where the text contains a token of `feature`, `next_token` follows."""

    feature: int
    next_token: int


class Rules(NamedTuple):
    """What a model writes. Of a token's rules the last one counts whose feature is in the text."""

    features: list[int]  # by token; 0 for none. Every text has feature 0
    default: list[Rule]  # of the tokens that have no rules of their own
    by_token: dict[int, list[Rule]]
    likings: Sequence[float]  # by token: logits that decide where a grammar forbids what the rules want


def head_dim(rules: Rules) -> int:
    """Features and two constants, in the units that the engine's kernels are made for."""
    return 32 * -(-(max(rules.features) + 2) // 32)


def build(rules: Rules) -> Any:
    """A stateful Model with the inputs and outputs of an export by Optimum Intel."""
    from openvino import Model, PartialShape, Type, op
    from openvino import opset15 as ops
    from openvino.op.util import Variable, VariableInfo

    def parameter(name: str, shape: list[int], kind: Any) -> Any:
        node = op.Parameter(kind, PartialShape(shape))
        node.set_friendly_name(name)
        node.output(0).tensor.set_names({name})
        return node

    def constant(value: Any, kind: Any = np.int64) -> Any:
        return ops.constant(np.array(value, kind))

    ids = parameter("input_ids", [-1, -1], Type.i64)
    mask = parameter("attention_mask", [-1, -1], Type.i64)
    positions = parameter("position_ids", [-1, -1], Type.i64)
    beams = parameter("beam_idx", [-1], Type.i32)
    size = head_dim(rules)
    batch = ops.gather(ops.shape_of(ids), constant([0]), constant(0))
    empty = ops.broadcast(
        constant(0.0, np.float32), ops.concat([batch, constant([1]), constant([0]), constant([size])], 0)
    )
    sinks = []

    def cached(name: str, new: Any) -> Any:
        """`new`, [batch, 1, tokens, size], behind what earlier calls gave."""
        info = VariableInfo()
        info.data_shape, info.data_type, info.variable_id = PartialShape([-1, 1, -1, size]), Type.f32, name
        variable = Variable(info)
        past = ops.gather(ops.read_value(empty, variable), beams, constant(0, np.int32))
        whole = ops.concat([past, new], 2)
        sinks.append(ops.assign(whole, variable))
        return whole

    table = np.zeros((len(rules.features), size), np.float32)
    table[:, 0] = 1.0
    table[range(len(rules.features)), rules.features] = 1.0
    row = ops.gather(ops.constant(table), ids, constant(0))  # [batch, tokens, size]
    # The engine wants the positions, so they are used: as nothing.
    nothing = ops.multiply(ops.convert(positions, "f32"), constant(0.0, np.float32))
    row = ops.add(row, ops.unsqueeze(nothing, constant(-1)))
    value = ops.transpose(ops.reshape(row, constant([0, -1, 1, size]), True), constant([0, 2, 1, 3]))
    query = ops.multiply(value, constant(0.0, np.float32))  # so that all tokens weigh the same
    keys, values = cached("past_key_values.0.key", value), cached("past_key_values.0.value", value)
    attended = ops.scaled_dot_product_attention(query, keys, values, _causal(ops, constant, ids, mask))
    flat = ops.reshape(ops.transpose(attended, constant([0, 2, 1, 3])), constant([0, -1, size]), True)
    seen = ops.convert(ops.greater(flat, constant(_LEAST_SHARE, np.float32)), "f32")
    logits = ops.matmul(*_wanted(ops, constant, rules, ids, seen), False, True)
    logits.output(0).tensor.set_names({"logits"})
    result = op.Result(logits.output(0))
    result.set_friendly_name("logits")
    return Model([result], sinks, [ids, mask, positions, beams], "scripted")


def _causal(ops: Any, constant: Any, ids: Any, mask: Any) -> Any:
    """[batch, 1, tokens, all tokens], true where a token may look."""
    new = ops.gather(ops.shape_of(ids), constant(1), constant(0))
    whole = ops.gather(ops.shape_of(mask), constant(1), constant(0))
    at = ops.range(ops.subtract(whole, new), whole, constant(1), "i64")
    others = ops.range(constant(0), whole, constant(1), "i64")
    earlier = ops.less_equal(ops.unsqueeze(others, constant(0)), ops.unsqueeze(at, constant(1)))
    present = ops.unsqueeze(ops.convert(mask, "boolean"), constant([1, 2]))
    return ops.logical_and(present, ops.unsqueeze(earlier, constant([0, 1])))


def _wanted(ops: Any, constant: Any, rules: Rules, ids: Any, seen: Any) -> tuple[Any, Any]:
    """The factors of the logits, in which the wanted token has _LEAD: [batch, tokens, targets + 1] and
    [vocabulary, targets + 1].

    The engine needs a product, since it cuts there what it computes for the last token of a prompt only.
    """
    lists = [rules.default, *rules.by_token.values()]
    longest = max(map(len, lists))
    # The first ones count least, so that one of them can come several times.
    padded = [[*([entries[0]] * (longest - len(entries))), *entries] for entries in lists]
    targets = sorted({rule.next_token for entries in lists for rule in entries})
    numbers = {token: number for number, token in enumerate(targets)}
    places = np.zeros(len(rules.features), np.int64)
    places[list(rules.by_token)] = range(1, len(lists))
    place = ops.gather(ops.constant(places), ids, constant(0))
    features = constant([[rule.feature for rule in entries] for entries in padded])
    following = constant([[numbers[rule.next_token] for rule in entries] for entries in padded])
    valid = ops.gather_elements(seen, ops.gather(features, place, constant(0)), 2)  # [batch, tokens, rules]
    # Not as integers: the CPU plugin fuses those wrongly where the engine computes the last token only.
    order = ops.multiply(valid, constant(range(longest), np.float32))
    last = ops.convert(ops.reduce_max(order, constant([2]), True), "i64")
    target = ops.gather_elements(ops.gather(following, place, constant(0)), last, 2)
    table = np.hstack([np.eye(len(targets)), np.ones((len(targets), 1))]).astype(np.float32)
    hidden = ops.gather(ops.constant(table), ops.squeeze(target, constant([2])), constant(0))
    weight = np.zeros((len(rules.features), len(targets) + 1), np.float16)
    weight[targets, range(len(targets))] = _LEAD
    weight[:, -1] = rules.likings
    return hidden, ops.convert(ops.constant(weight), "f32")
