"""Subtitles: SubRip and WebVTT."""

from collections.abc import Iterable, Iterator

from ipc.messages import Segment

_ARROW = "-->"  # separates the times of a cue, and must not occur in its text


def srt(segments: Iterable[Segment]) -> str:
    """A SubRip file, empty without speech."""
    cues = (
        f"{number}\n{_clock(start, ',')} {_ARROW} {_clock(end, ',')}\n{text.replace(_ARROW, '->')}\n\n"
        for number, (start, end, text) in enumerate(_cues(segments), 1)
    )
    return "".join(cues)


def vtt(segments: Iterable[Segment]) -> str:
    """A WebVTT file, only its header without speech."""
    cues = (
        f"{_clock(start, '.')} {_ARROW} {_clock(end, '.')}\n{_escaped(text)}\n\n"
        for start, end, text in _cues(segments)
    )
    return "WEBVTT\n\n" + "".join(cues)


def _cues(segments: Iterable[Segment]) -> Iterator[tuple[int, int, str]]:
    """Start, end and text of what is shown, in milliseconds. A cue starts after the one before and is shown
    for at least a millisecond; one without text is left out."""
    shown_until = 0
    for segment in segments:
        lines = (line.strip() for line in segment.text.splitlines())
        text = "\n".join(line for line in lines if line)  # an empty line would end the cue
        if text:
            start = max(round(segment.start * 1000), shown_until)
            shown_until = max(round(segment.end * 1000), start + 1)
            yield start, shown_until, text


def _clock(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
