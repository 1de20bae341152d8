"""A codec of libav: samples → packets → the bytes of a file."""

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np

from host.speech.framing import Framing
from host.speech.samples import Samples, s16

_WARM_UP_FRAMES = 16  # of silence, after which an encoder has forgotten that frames were left out
_SKIP_SAMPLES = 2**19  # of silence at once


class Encoded:
    """A codec of libav, and what frames its packets."""

    def __init__(
        self, codec: av.AudioCodecContext, framing: Framing, sample_format: str, *, counts_frames: bool
    ) -> None:
        """`counts_frames`: packets hold their number, so that none can be left out in `skip`."""
        self._codec = codec
        self._framing = framing
        self._format = sample_format
        self._counts_frames = counts_frames
        self._frame = codec.frame_size
        self._held = np.zeros(0, np.float32)  # less than a frame
        self._samples = 0  # added and skipped
        self._fed = 0  # samples that the codec has taken

    def header(self) -> bytes:
        return self._framing.header()

    def add(self, samples: Samples) -> bytes:
        self._samples += len(samples)
        pending = np.concatenate((self._held, samples))
        whole = len(pending) // self._frame * self._frame
        self._held = pending[whole:].copy()
        return self._framing.add(list(self._packets(pending[:whole])))

    def finish(self) -> bytes:
        missing = -len(self._held) % self._frame
        last = self._held if self._counts_frames else np.pad(self._held, (0, missing))
        packets = [*self._packets(last), *self._encode(None)]
        return self._framing.add(packets) + self._framing.end(self._samples)

    def skip(self, samples: int) -> None:
        left_out = 0
        if not self._counts_frames:
            left_out = max(0, samples // self._frame - _WARM_UP_FRAMES)
            self._framing.skip(left_out)
        rest = samples - left_out * self._frame
        for start in range(0, rest, _SKIP_SAMPLES):
            self.add(np.zeros(min(_SKIP_SAMPLES, rest - start), np.float32))
        self._samples = samples

    def _packets(self, samples: Samples) -> Iterator[bytes]:
        """Encode frames; the last one may be shorter."""
        for start in range(0, len(samples), self._frame):
            part = samples[start : start + self._frame]
            data = s16(part) if self._format == "s16" else part
            frame = av.AudioFrame.from_ndarray(data[np.newaxis], format=self._format, layout="mono")
            frame.sample_rate = self._codec.sample_rate
            frame.time_base = self._codec.time_base
            frame.pts = self._fed
            self._fed += len(part)
            yield from self._encode(frame)

    def _encode(self, frame: av.AudioFrame | None) -> list[bytes]:
        packets = (bytes(packet) for packet in self._codec.encode(frame))
        return [packet for packet in packets if packet]


def open_codec(
    name: str, sample_format: str, sample_rate: int, bit_rate: int = 0, options: dict[str, str] | None = None
) -> av.AudioCodecContext:
    codec = cast(av.AudioCodecContext, av.CodecContext.create(name, "w"))
    codec.sample_rate = sample_rate
    codec.layout = "mono"
    codec.format = sample_format
    codec.time_base = Fraction(1, sample_rate)
    codec.thread_count = 1
    if bit_rate:
        codec.bit_rate = bit_rate
    codec.options = options or {}
    codec.open()
    return codec
