"""Tokens as texts: together they are the text, whatever their bytes, and each is at its place."""

import pytest

from frontend.api.token_texts import TokenTexts

EMOJI = "😀".encode()


def placed(*pieces: bytes, until: int | None = None, length: int | None = None) -> list[tuple[int, str, int]]:
    texts: TokenTexts[int] = TokenTexts()
    for number, piece in enumerate(pieces):
        texts.add(number, piece)
    tokens = texts.take_rest(100 if length is None else length) if until is None else texts.take(until)
    return [(token.what, token.text, token.start) for token in tokens]


def test_each_token_begins_where_the_last_ended() -> None:
    assert placed(b"The", b" cat") == [(0, "The", 0), (1, " cat", 3)]


def test_the_token_that_completes_a_character_has_all_of_it() -> None:
    bytewise = [EMOJI[i : i + 1] for i in range(4)]
    assert placed(b"a", *bytewise, b"b") == [
        (0, "a", 0),
        (1, "", 1),
        (2, "", 1),
        (3, "", 1),
        (4, "😀", 1),
        (5, "b", 2),
    ]


def test_a_character_may_begin_in_a_token_that_ends_another() -> None:
    assert placed(b"a" + EMOJI[:2], EMOJI[2:] + b"b", b"c") == [(0, "a", 0), (1, "😀b", 1), (2, "c", 3)]


def test_what_is_no_character_is_shown_at_the_end() -> None:
    assert placed(b"a", EMOJI[:1]) == [(0, "a", 0), (1, "\ufffd", 1)]


@pytest.mark.parametrize(("until", "count"), [(0, 0), (1, 1), (2, 4), (3, 5)])
def test_tokens_wait_until_their_text_is_known(until: int, count: int) -> None:
    assert len(placed(b"a", EMOJI[:1], EMOJI[1:2], EMOJI[2:], b"b", until=until)) == count


def test_a_text_that_was_cut_before_a_stop_string_cuts_its_tokens() -> None:
    assert placed(b"ab", b"cd", b"ef", length=3) == [(0, "ab", 0), (1, "c", 2)]


def test_hidden_tokens_have_no_text() -> None:
    assert placed(b"", b"a", b"", length=1) == [(0, "", 0), (1, "a", 0), (2, "", 1)]
