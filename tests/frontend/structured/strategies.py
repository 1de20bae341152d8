"""Random JSON, and random JSON schemas: valid ones, and ones with a fault."""

from typing import Any

from hypothesis import strategies as st

from tests.frontend.structured.schemas import SCHEMAS

NAMES = st.sampled_from(["a", "b", "id", "na me", 'q"', "é"])
SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-100, 100) | st.text(max_size=5)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.floats() | st.integers() | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)
PATTERNS = st.sampled_from(
    [
        "^[a-z]{1,3}$",
        "^a+$",
        "b|c",
        "^(x|yz){0,2}$",
        "^\\d{2}$",
        "^.{0,3}$",
        "^[^a]?$",
        "\\w",
        "^$",
        "^é?\\s$",
    ]
)


def _bounds(low: str, high: str, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(numbers, numbers).map(sorted)
    both = pairs.map(lambda pair: {low: pair[0], high: pair[1]})
    return both | numbers.map(lambda number: {high: number}) | st.just({})


def _merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {key: value for part in found for key, value in part.items()})


_COUNTS = st.integers(0, 4)
LEAVES = st.one_of(
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": "integer"}, {"type": "number"}]),
    _bounds("minimum", "maximum", st.integers(-200, 200)).map(lambda b: {"type": "integer", **b}),
    _bounds("minimum", "maximum", st.decimals(-9, 9, places=2).map(float)).map(
        lambda b: {"type": "number", **b}
    ),
    _bounds("exclusiveMinimum", "exclusiveMaximum", st.integers(-9, 9)).map(
        lambda b: {"type": "number", **b}
    ),
    _bounds("minLength", "maxLength", st.integers(0, 40)).map(lambda b: {"type": "string", **b}),
    _merged(
        _bounds("minLength", "maxLength", _COUNTS), PATTERNS.map(lambda p: {"type": "string", "pattern": p})
    ),
    st.sampled_from(["date", "time", "ipv4", "uuid", "duration"]).map(
        lambda f: {"type": "string", "format": f}
    ),
    st.lists(SCALARS, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    SCALARS.map(lambda value: {"const": value}),
)


def _objects(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _merged(
        st.just({"type": "object"}),
        st.dictionaries(NAMES, children, max_size=3).map(lambda found: {"properties": found}),
        st.lists(NAMES, max_size=2, unique=True).map(lambda names: {"required": names}),
        st.just({}) | st.just({"additionalProperties": False}),
        _bounds("minProperties", "maxProperties", _COUNTS),
    )


def _arrays(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _merged(
        children.map(lambda items: {"type": "array", "items": items, "maxItems": 3}),
        st.just({}) | st.lists(children, min_size=1, max_size=2).map(lambda found: {"prefixItems": found}),
        _bounds("minItems", "maxItems", _COUNTS),
    )


def _combined(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(children, min_size=1, max_size=3)
    return st.one_of(
        several.map(lambda found: {"anyOf": found}),
        several.map(lambda found: {"oneOf": found}),
        several.map(lambda found: {"allOf": found}),
        children.map(lambda found: {"$defs": {"x": found}, "$ref": "#/$defs/x"}),
    )


SCHEMA: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda children: _objects(children) | _arrays(children) | _combined(children), max_leaves=6
)


@st.composite
def broken(draw: st.DrawFn) -> Any:
    """A real schema in which one value is replaced by another."""
    schema = draw(st.sampled_from(list(SCHEMAS.values())) | SCHEMA)
    return _mutated(schema, draw)


def _mutated(value: Any, draw: st.DrawFn) -> Any:
    children = list(
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    if not children or draw(st.integers(0, 3)) == 0:
        return draw(JSON)
    key, child = draw(st.sampled_from(children))
    if isinstance(value, list):
        return [*value[:key], _mutated(child, draw), *value[key + 1 :]]
    name = draw(st.sampled_from([key, "not", "oneOf", "$ref", "pattern", "items", "type"]))
    return {**{k: v for k, v in value.items() if k != key}, name: _mutated(child, draw)}
