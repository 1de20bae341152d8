"""SubRip and WebVTT: what parsers must be able to read."""

import re

from hypothesis import given
from hypothesis import strategies as st

from frontend.api.subtitles import srt, vtt
from ipc.messages import Segment

SRT_CUE = re.compile(r"(\d+)\n(\d{2,}:\d\d:\d\d,\d{3}) --> (\d{2,}:\d\d:\d\d,\d{3})\n((?:.+\n)+)\n")
VTT_CUE = re.compile(r"(\d{2,}:\d\d:\d\d\.\d{3}) --> (\d{2,}:\d\d:\d\d\.\d{3})\n((?:.+\n)+)\n")

times = st.floats(0, 360_000, allow_nan=False)
segments = st.lists(st.builds(Segment, start=times, end=times, text=st.text(max_size=20)), max_size=5)


def milliseconds(clock: str) -> int:
    hours, minutes, seconds, rest = re.split("[:,.]", clock)
    assert int(minutes) < 60
    assert int(seconds) < 60
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(rest)


def test_a_segment_is_a_cue():
    given_segments = [Segment(0.0, 1.5, " Hello."), Segment(1.5, 2.0, " Bye.")]
    assert srt(given_segments) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n00:00:01,500 --> 00:00:02,000\nBye.\n\n"
    )
    assert vtt(given_segments) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello.\n\n00:00:01.500 --> 00:00:02.000\nBye.\n\n"
    )


def test_silence_has_no_cues():
    assert srt([]) == ""
    assert vtt([Segment(0, 1, " ")]) == "WEBVTT\n\n"


def test_times_round_up_into_minutes_and_hours():
    assert "00:59:59,999 --> 01:00:00,000\n" in srt([Segment(3599.9994, 3599.9996, "x")])
    assert "100:00:00.000 --> 100:00:01.000\n" in vtt([Segment(360_000, 360_001, "x")])


def test_text_cannot_end_its_cue_or_begin_another():
    tricky = Segment(0, 1, "one\n\n2\r\n00:00 --> 00:01\n<b>&")
    assert srt([tricky]) == "1\n00:00:00,000 --> 00:00:01,000\none\n2\n00:00 -> 00:01\n<b>&\n\n"
    assert vtt([tricky]).endswith("one\n2\n00:00 --&gt; 00:01\n&lt;b&gt;&amp;\n\n")


@given(segments)
def test_every_file_parses_and_its_times_never_go_back(found: list[Segment]):
    spoken = [segment for segment in found if any(line.strip() for line in segment.text.splitlines())]
    body = vtt(found).removeprefix("WEBVTT\n\n")
    for cues, whole in ((SRT_CUE.findall(srt(found)), srt(found)), (VTT_CUE.findall(body), body)):
        assert len(cues) == len(spoken)
        assert sum(len(" --> ".join(cue[-3:-1])) for cue in cues) <= len(whole)
        clock = 0
        for cue in cues:
            start, end = milliseconds(cue[-3]), milliseconds(cue[-2])
            assert clock <= start < end
            clock = end
    assert [int(cue[0]) for cue in SRT_CUE.findall(srt(found))] == list(range(1, len(spoken) + 1))
