"""Samples → the bytes of one audio file, piece by piece.

A host that continues the file of a dead one brings its encoder to the same point with `skip`, so that the
bytes of both make one valid file. What an encoder has taken but not yet returned when its host dies is lost;
the caller ends each piece with at least `PAUSE_SECONDS` of silence, so that only silence is lost, which the
next encoder's silence replaces.
"""

import struct
from typing import Protocol

from host.speech.codec import Encoded, open_codec
from host.speech.framing import Bare
from host.speech.ogg import OggOpus
from host.speech.samples import Samples, bounded, s16
from ipc.messages import AudioFormat

# Covers what any of the encoders holds back (at most 0.13 s), and lets it forget the sound before.
PAUSE_SECONDS = 0.25

_UNKNOWN_SIZE = 0xFFFFFFFF


class Encoder:
    """One file. Every method returns the bytes that are complete; concatenated they are the file."""

    def __init__(self, audio_format: AudioFormat, sample_rate: int) -> None:
        """`sample_rate` in samples per second: 24,000, or another rate that the format has."""
        self._sink = _sink_of(audio_format, sample_rate)
        self._headed = False

    def add(self, samples: Samples) -> bytes:
        """Encode samples; what exceeds -1 to 1 is clipped."""
        return self._header() + self._sink.add(bounded(samples))

    def finish(self) -> bytes:
        """End the file. Nothing may be added after."""
        return self._header() + self._sink.finish()

    def skip(self, samples: int) -> None:
        """Begin behind this many samples, whose bytes another encoder has returned. Call it before `add`.

        An hour of FLAC takes seconds, since frames are numbered; everything else takes milliseconds."""
        if samples:
            self._headed = True
            self._sink.skip(samples)

    def _header(self) -> bytes:
        if self._headed:
            return b""
        self._headed = True
        return self._sink.header()


class _Sink(Protocol):
    def header(self) -> bytes: ...

    def add(self, samples: Samples) -> bytes: ...

    def finish(self) -> bytes: ...

    def skip(self, samples: int) -> None: ...


class _Pcm:
    """Signed 16-bit little-endian samples, with a header (WAV) or without."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def header(self) -> bytes:
        return self._header

    def add(self, samples: Samples) -> bytes:
        return s16(samples).tobytes()

    def finish(self) -> bytes:
        return b""

    def skip(self, samples: int) -> None:
        pass


def _wav_header(sample_rate: int) -> bytes:
    """Of a file whose size is not known yet."""
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return b"".join(
        (
            struct.pack("<4sI4s", b"RIFF", _UNKNOWN_SIZE, b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(form)) + form,
            struct.pack("<4sI", b"data", _UNKNOWN_SIZE),
        )
    )


def _mp3(sample_rate: int) -> _Sink:
    # Without the reservoir, no frame needs bytes of the frames before it, which may be another encoder's.
    codec = open_codec("libmp3lame", "fltp", sample_rate, 96_000, {"reservoir": "0"})
    return Encoded(codec, Bare(), "fltp", counts_frames=False)


def _aac(sample_rate: int) -> _Sink:
    codec = open_codec("aac", "fltp", sample_rate, 96_000)
    config = int.from_bytes((codec.extradata or b"")[:2], "big")  # AudioSpecificConfig
    return Encoded(codec, Bare(adts_index=config >> 7 & 0xF), "fltp", counts_frames=False)


def _flac(sample_rate: int) -> _Sink:
    codec = open_codec("flac", "s16", sample_rate)
    info = codec.extradata or b""  # STREAMINFO, of unknown length
    header = b"fLaC" + bytes([0x80]) + len(info).to_bytes(3, "big") + info
    return Encoded(codec, Bare(header), "s16", counts_frames=True)


def _opus(sample_rate: int) -> _Sink:
    codec = open_codec("libopus", "flt", sample_rate, 48_000, {"application": "audio"})
    framing = OggOpus(codec.extradata or b"", sample_rate, codec.frame_size)
    return Encoded(codec, framing, "flt", counts_frames=False)


def _sink_of(audio_format: AudioFormat, sample_rate: int) -> _Sink:
    match audio_format:
        case "mp3":
            return _mp3(sample_rate)
        case "opus":
            return _opus(sample_rate)
        case "aac":
            return _aac(sample_rate)
        case "flac":
            return _flac(sample_rate)
        case "wav":
            return _Pcm(_wav_header(sample_rate))
        case "pcm":
            return _Pcm(b"")
