"""What of a text is read aloud, sentence by sentence, and in which words."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.speech.number_words import cardinal, decimal, ordinal, year
from host.speech.splitting import split_sentences
from host.speech.text import sentences


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        (
            "Dr. Smith paid $3.50 for 2 lbs.",
            "Doctor Smith paid three dollars and fifty cents for two pounds.",
        ),
        ("At 3:05 p.m. on Jan. 5, 2024", "At three oh five PM on January fifth, twenty twenty four"),
        (
            "From 10:00 to 14:30 on 2024-03-15",
            "From ten o'clock to fourteen thirty on March fifteenth, twenty twenty four",
        ),
        (
            "It costs €1.2m, i.e. 20% more",
            "It costs one point two million euros, that is twenty percent more",
        ),
        ("The 1990s, the 1st, the 22nd", "The nineteen nineties, the first, the twenty second"),
        ("See e.g. Fig. 3, pp. 10-20", "See for example Figure three, pages ten to twenty"),
        (
            "25°C or -5 °F at 60 mph",
            "twenty five degrees Celsius or minus five degrees Fahrenheit at sixty miles per hour",
        ),
        ("1/2 cup, 2 1/2 cups, 24/7", "one half cup, two and one half cups, twenty four slash seven"),
        (
            "Agent 007 ate 1,234 pies",
            "Agent zero zero seven ate one thousand two hundred and thirty four pies",
        ),
        ("www.example.com/a_b or joe@x.org", "example dot com slash a underscore b or joe at x dot org"),
        ("https://x.io/docs?q=1#top.", "x dot io slash docs."),
        ("No. 5, v1.2.3, MP3", "Number five, one point two point three, MP three"),
        (
            "C++ & C#: x = y + 2, 2^10",
            "C plus plus and C sharp: x equals y plus two, two to the power of ten",
        ),
        (
            "10k users at 1920x1080, 4K",
            "ten thousand users at nineteen twenty by one thousand eighty, four K",
        ),
        ("St. Paul lives on Main St.", "Saint Paul lives on Main Street."),
        ("It’s “fine” – really…", 'It\'s "fine" — really...'),
        ("𝐇𝐞𝐥𝐥𝐨 ½ x² ™", "Hello one half x squared"),
    ],
)
def test_english_is_written_as_it_is_spoken(written: str, spoken: str):
    assert " ".join(sentences(written, "en-US")) == spoken


def test_dates_follow_the_country():
    assert sentences("On 3/4/2024", "en-US") == ["On March fourth, twenty twenty four"]
    assert sentences("On 3/4/2024", "en-GB") == ["On April third, twenty twenty four"]


def test_espeak_reads_the_numbers_of_other_languages():
    assert sentences("Tengo 3,5 km. El Sr. García no.", "es") == ["Tengo 3,5 km.", "El Sr. García no."]


def test_markup_is_shown_and_not_read():
    text = """# Title **bold** #

Hello *world*, this is `code` and [a link](https://x.y/z_(a)) with ![an image](i.png "t").

- [x] done ✅
2) Second[^1]

| Name | Age |
|------|:---:|
| Bob  | old |

```python
print("hi")
```
> quoted **text**

[ref]: https://x.y
---
<p>HTML &amp; <b>tags</b><br>next</p><!-- hidden --><script>hidden()</script>
~~~
unclosed
"""
    assert sentences(text, "en-US") == [
        "Title bold",
        "Hello world, this is code and a link with an image.",
        "done",
        "two: Second",
        "Name, Age",
        "Bob, old",
        "Code block.",
        "quoted text",
        "HTML and tags",
        "next",
        "Code block.",
    ]
    assert "Bloc de code." in sentences(text, "fr-FR")


@pytest.mark.parametrize(
    "text", ["", " \n\t", "😀👍🏽", "!!! ... ***", "``` ```", "---", "<br>", "\u200d\ufe0f", "|-|"]
)
def test_there_may_be_nothing_to_say(text: str):
    assert sentences(text, "en-US") == []


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("He left at noon. She stayed there.", "en", ["He left at noon.", "She stayed there."]),
        ('"Really?" he asked. "Yes, of course!"', "en", ['"Really?" he asked.', '"Yes, of course!"']),
        ("Wait... what is that? J. R. Tolkien.", "en", ["Wait... what is that?", "J. R. Tolkien."]),
        ("No break here\nbut a line break.", "en", ["No break here", "but a line break."]),
        ("Yes. No. That depends on it.", "en", ["Yes. No. That depends on it."]),
        ("यह पहला वाक्य है। यह दूसरा वाक्य है।", "hi", ["यह पहला वाक्य है।", "यह दूसरा वाक्य है।"]),
        ("¿Cómo estás hoy? ¡Muy bien, gracias!", "es", ["¿Cómo estás hoy?", "¡Muy bien, gracias!"]),
        (
            "今天天气很好我们去公园玩。明天也许会下雨我们在家。",
            "zh",
            ["今天天气很好我们去公园玩。", "明天也许会下雨我们在家。"],
        ),
    ],
)
def test_sentences_end_where_readers_pause(text: str, language: str, expected: list[str]):
    assert sentences(text, language) == expected


def test_long_sentences_are_cut_after_clauses_then_words_then_anywhere():
    clauses = sentences("Some words that go on, " * 12, "en", 100)
    assert all(len(piece) <= 100 and piece.endswith("on,") for piece in clauses)
    words = sentences("word " * 100, "en", 99)
    assert all(len(piece) <= 99 and piece.endswith("word") for piece in words)
    assert list(map(len, sentences("x" * 600, "en", 250))) == [200, 200, 200]


@given(st.text(max_size=400), st.sampled_from(["en-US", "es", "hi"]), st.integers(20, 300))
def test_sentences_are_bounded_and_say_something(text: str, language: str, limit: int):
    found = sentences(text, language, limit)
    assert found == sentences(text, language, limit)
    for sentence in found:
        assert 0 < len(sentence) <= limit
        assert any(character.isalnum() for character in sentence)
        assert "\n" not in sentence
        assert sentence == sentence.strip()


@given(st.text(st.sampled_from("ab1 .,;!?…।。\"')—-" + "é"), max_size=300), st.integers(20, 100))
def test_no_letter_is_lost_or_repeated_by_splitting(line: str, limit: int):
    joined = "".join(split_sentences(line, "en", limit))
    assert re.sub(r"\W", "", joined) == re.sub(r"\W", "", line)


@given(st.integers(0, 10**36 - 1))
def test_no_digit_is_left_of_a_number(value: int):
    for words in (cardinal(str(value)), ordinal(str(value)), decimal(f"{value}.5")):
        assert re.fullmatch(r"[a-z]+( [a-z]+)*", words)


def test_years_are_read_in_pairs():
    assert [year(digits) for digits in ("1984", "1905", "1900", "2000", "2005", "2024")] == [
        "nineteen eighty four",
        "nineteen oh five",
        "nineteen hundred",
        "two thousand",
        "two thousand five",
        "twenty twenty four",
    ]


HOSTILE = [
    *(
        "*",
        "[",
        "](",
        "![",
        "<",
        "<a",
        "<!--",
        "<script",
        "`",
        "```\n",
        "_",
        "\\",
        "#",
        "&",
        "|",
        "| - ",
        "> ",
    ),
    *(
        "- ",
        "1. ",
        "1",
        "1,",
        "1.",
        "1-",
        "1/2 ",
        "a.",
        ". ",
        ".",
        '"',
        "!",
        "$",
        "$1 ",
        "((",
        "http://",
        "a@",
    ),
    *("a.b.c.", "~", "=", "12:30", "😀", "\n", " ", "\t", "Jan. ", "\u0301", "[a][", "](a(", "1 1/2", "+1 "),
    *('<img alt="', "a-", "a/", "1st", "\ufdfa", "。", "e.g.", "<br", "[^", "1x", "0", "'", "—", "+"),
]


@pytest.mark.parametrize("part", HOSTILE, ids=repr)
def test_hostile_texts_take_linear_time(part: str):
    """Four times the text takes about four times as long; quadratic time would be sixteen times as long."""
    times = []
    for length in (4_000, 16_000):
        text = (part * length)[:length]
        began = time.process_time()
        sentences(text, "en-US")
        times.append(time.process_time() - began)
    assert times[1] < 9 * times[0] + 0.05


def test_numbers_beyond_every_name_are_spelled():
    digits = "9" * 6000
    for text in (digits, f"${digits}", f"${digits}.50", f"{digits}%", f"{digits}.5", f"{digits}/2"):
        spoken = " ".join(sentences(text, "en-US"))
        assert spoken.count("nine") == 6000
