"""What reports about incidents leave out."""

import msgspec

from frontend.observability.redaction import HIDDEN, WITHHELD, sizes_alone, without_paths, without_prompts
from ipc.messages import Generate, Sampling

PROMPT = "Where does the old lighthouse keeper hide his daughter's letters?"


def test_what_a_request_says_is_hidden_wherever_a_line_quotes_it():
    bodies = [msgspec.msgpack.encode({"text": PROMPT})]
    lines = [
        "Check 'a < b' failed at src/core/tensor.cpp:12",
        f'RuntimeError: cannot tokenize "{PROMPT}" at position 3',
        "a word: lighthouse; another: letters?",
        "key: daughter's-letters?",
    ]
    shown = without_prompts(lines, bodies)
    assert shown[0] == lines[0]
    assert shown[1] == f"RuntimeError: cannot tokenize {HIDDEN} at position 3"
    assert shown[2] == lines[2]  # single short words give nothing away
    assert without_prompts([f"secret {'x' * 40}"], [b"x" * 60]) == [f"secret {HIDDEN}"]


def test_quotations_are_hidden_whatever_is_written_beside_them():
    bodies = [msgspec.msgpack.encode({"text": "the vault opens with 暗証番号 and correct-horse-battery"})]
    assert without_prompts(["bad text='暗証番号'"], bodies) == [f"bad {HIDDEN}"]
    assert without_prompts(["text=(the vault opens)"], bodies) == [HIDDEN]
    assert without_prompts(["token:correct-horse-battery;"], bodies) == [HIDDEN]


def test_nothing_is_hidden_where_no_request_was_held():
    assert without_prompts([PROMPT], []) == [PROMPT]


def test_requests_too_large_to_be_searched_withhold_everything():
    assert without_prompts(["a line", ""], [b"x" * 5_000_000]) == [WITHHELD, ""]


def test_what_there_is_no_time_to_search_is_hidden():
    bodies = [b"x" * 1_000_000]
    lines = [" ".join(f"word{line}{word}" for word in range(20)) for line in range(20)]
    shown = without_prompts(lines, bodies)
    assert shown[0] == lines[0]
    assert shown[-1] == HIDDEN


def test_paths_are_cut_to_their_last_part():
    assert without_paths("cannot open /home/ann/models/qwen/model.bin: no") == "cannot open …/model.bin: no"
    assert without_paths("src/core/a.cpp:12 and 3/4 of it") == "src/core/a.cpp:12 and 3/4 of it"


def test_work_is_exported_with_sizes_alone():
    work = Generate(7, b"", Sampling(max_tokens=5, stop=["Ann", "Bob"], seed=3), [11, 12, 13])
    shown = sizes_alone(work)
    assert shown["resume_token_ids"] == {"count": 3}
    assert shown["sampling"]["stop"] == [{"characters": 3}, {"characters": 3}]
    assert (shown["sampling"]["max_tokens"], shown["sampling"]["seed"]) == (5, 3)
    assert "Ann" not in str(shown)
