"""The cache of compiled formats: what counts as the same constraint, and how much is kept."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from frontend.structured import ConstraintError
from frontend.structured.cache import FormatCache, _size

MIB = 1024 * 1024


class Compiler:
    """Counts what it compiles. Constraints with the key "bad" are rejected."""

    def __init__(self, cache: FormatCache, kind: str = "compile") -> None:
        self.compiled: list[Any] = []

        def compile_(constraint: object) -> dict[str, Any]:
            self.compiled.append(constraint)
            if isinstance(constraint, dict) and "bad" in constraint:
                raise ConstraintError("is bad", ".bad")
            return {"type": "grammar", "grammar": f"{kind}: {constraint!r}"}

        compile_.__qualname__ = kind
        self.format = cache.memoize(compile_)


def test_a_constraint_is_compiled_once_however_often_it_is_repeated():
    compiler = Compiler(FormatCache(MIB))
    first = compiler.format({"a": [1, "x"], "b": None})
    assert compiler.format({"a": [1, "x"], "b": None}) is first
    assert len(compiler.compiled) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (1, "1"),
        (None, "null"),
        (None, float("nan")),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),  # a grammar has a schema's properties in their order
        ([], {}),
        ([1, [2]], [[1], 2]),
        (2**70, 2**70 + 1),
    ],
)
def test_constraints_that_differ_in_anything_are_compiled_apart(one, other):
    compiler = Compiler(FormatCache(MIB))
    assert compiler.format([one]) != compiler.format([other])
    assert len(compiler.compiled) == 2


def test_integers_beyond_64_bits_are_cached_too():
    compiler = Compiler(FormatCache(MIB))
    assert compiler.format({"maximum": 10**30}) is compiler.format({"maximum": 10**30})


def test_each_compiler_has_its_own_formats():
    cache = FormatCache(MIB)
    one, other = Compiler(cache, "one"), Compiler(cache, "other")
    assert one.format("x") != other.format("x")


def test_a_rejection_is_repeated_without_compiling_and_as_a_new_error():
    compiler = Compiler(FormatCache(MIB))
    errors = []
    for _ in range(2):
        with pytest.raises(ConstraintError) as rejected:
            compiler.format({"bad": 1})
        errors.append(rejected.value)
    assert [(error.message, error.path) for error in errors] == [("is bad", ".bad")] * 2
    assert errors[0] is not errors[1]  # or tracebacks would pile up on it
    assert len(compiler.compiled) == 1


def test_the_least_recently_used_formats_make_room_for_new_ones():
    cache = FormatCache(MIB)
    compiler = Compiler(cache)
    texts = [str(index) * 100_000 for index in range(10)]  # of which about ten fit, by their bytes
    for text in texts:
        compiler.format(text)
    kept = cache.size_bytes
    assert MIB / 2 < kept <= MIB
    compiler.format(texts[0])
    compiler.format("y" * 100_000)
    assert cache.size_bytes <= MIB
    compiler.compiled.clear()
    compiler.format(texts[0])
    assert compiler.compiled == []
    compiler.format(texts[1])
    assert compiler.compiled == [texts[1]]


def test_what_is_larger_than_the_whole_cache_is_not_kept():
    cache = FormatCache(1000)
    compiler = Compiler(cache)
    compiler.format("x" * 2000)
    assert cache.size_bytes == 0
    compiler.format("small")
    assert cache.size_bytes > 0


def test_the_size_of_a_format_is_that_of_its_texts_wherever_they_are():
    grammar = {"type": "grammar", "grammar": "x" * 100_000}
    assert 200_000 < _size({"type": "or", "elements": [grammar, {"content": {**grammar}}]}) < 202_000


@pytest.mark.parametrize("huge", ["x" * 2 * MIB, ["\ud800"], [object()]], ids=["long", "surrogate", "object"])
def test_what_no_compiler_accepts_is_not_kept(huge):
    cache = FormatCache(100 * MIB)
    compiler = Compiler(cache)
    for _ in range(2):
        compiler.format(huge)
    assert len(compiler.compiled) == 2
    assert cache.size_bytes == 0


def test_deep_nesting_is_left_to_the_compiler():
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    cache = FormatCache(MIB)
    assert cache.memoize(lambda _: {"type": "grammar"})(deep) == {"type": "grammar"}
    assert cache.size_bytes == 0


def test_threads_may_share_a_cache():
    cache = FormatCache(50_000)  # so that formats are evicted all the time
    compiler = Compiler(cache)

    def work(seed: int) -> bool:
        constraints = [f"{(seed * 7 + step) % 50}" * 500 for step in range(300)]
        return all(repr(one) in compiler.format(one)["grammar"] for one in constraints)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert 0 < cache.size_bytes <= 50_000
