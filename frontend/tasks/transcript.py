"""A transcript as it grows, window by window."""

import msgspec

from ipc.messages import Segment, Transcribed

# Scripts written without spaces between words: Thai to Khmer, kana, and the ideographs.
_UNSPACED = (
    ("\u0e00", "\u0eff"),
    ("\u1000", "\u109f"),
    ("\u1780", "\u17ff"),
    ("\u2e80", "\ua4cf"),
    ("\uf900", "\ufaff"),
    ("\uff00", "\uff9f"),
    ("\U00020000", "\U0003ffff"),
)


class Transcript(msgspec.Struct):
    """What is known of one recording. Times are in seconds of audio."""

    segments: list[Segment] = []
    pieces: list[str] = []  # the text is these, one after the other
    until: float = 0.0  # everything before is done
    windows: int = 0  # that are done
    language: str = ""  # a code, once it is known
    duration: float = 0.0  # of the recording, once it has ended

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def add(self, reply: Transcribed) -> str:
        """Take in what a window holds. Returns the text that it adds."""
        added = ""
        for segment in reply.segments:
            piece = continuing(self.pieces[-1] if self.pieces else "", segment.text)
            if piece:
                self.pieces.append(piece)
                added += piece
        self.segments += reply.segments
        self.windows += reply.units
        self.until = max(self.until, reply.until)
        self.language = self.language or reply.language
        if reply.last:
            self.duration = reply.duration
        return added


def continuing(before: str, text: str) -> str:
    """`text` as it follows `before`: with one space between them, unless their script has none."""
    text = text.strip()
    if not (before and text) or _is_unspaced(before[-1]) or _is_unspaced(text[0]):
        return text
    return f" {text}"


def _is_unspaced(character: str) -> bool:
    return any(first <= character <= last for first, last in _UNSPACED)
