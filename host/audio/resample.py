"""Frames of any sample format, rate and number of channels → mono samples at our rate."""

from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import format_dtypes
from av.audio.plane import AudioPlane

from host.audio.samples import RATE, Samples, cleaned, silence

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # samples per second
MAX_CHANNELS = 64

_BATCH_SECONDS = 0.5  # resampled at once: frames are so short that a call for each costs more than its work


class UnusableFrame(Exception):
    """Its rate, channels or samples are outside of what recordings have. The text ends a sentence."""


class MonoResampler:
    """Takes mono samples whose rate may change in between."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._rate = RATE
        self._waiting: list[Samples] = []
        self._count = 0  # samples that wait

    def convert(self, samples: Samples, rate: int) -> Samples:
        """The samples at our rate that are complete by now. Raises av.FFmpegError."""
        if rate == self._rate:
            return self._add(samples)
        before = self.flush()
        self._rate = rate
        return np.concatenate((before, self._add(samples)))

    def flush(self) -> Samples:
        """What was held back; the next samples need not continue it. Raises av.FFmpegError."""
        done = self._advance()
        if self._resampler is not None:
            done = np.concatenate((done, *map(_samples, self._resampler.resample(None))))
            self._resampler = None
        return done

    def _add(self, samples: Samples) -> Samples:
        self._waiting.append(samples)
        self._count += len(samples)
        return self._advance() if self._count >= _BATCH_SECONDS * self._rate else silence(0)

    def _advance(self) -> Samples:
        if not self._count:
            return silence(0)
        batch = cleaned(np.concatenate(self._waiting))
        self._waiting, self._count = [], 0
        if self._rate == RATE:
            return batch
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        frame = av.AudioFrame.from_ndarray(batch.reshape(1, -1), "flt", "mono")
        frame.sample_rate = self._rate
        return np.concatenate((silence(0), *map(_samples, self._resampler.resample(frame))))


def mono(frame: av.AudioFrame) -> Samples:
    """The mean of a frame's channels. Raises UnusableFrame."""
    channels = frame.layout.nb_channels
    if not LOWEST_RATE <= frame.sample_rate <= HIGHEST_RATE:
        raise UnusableFrame(f"{frame.sample_rate} samples a second")
    if not 1 <= channels <= MAX_CHANNELS:
        raise UnusableFrame(f"{channels} channels")
    values = _channels(frame, channels)
    return scaled(values[0]) if channels == 1 else scaled(values).mean(axis=0, dtype=np.float32)


def _channels(frame: av.AudioFrame, channels: int) -> npt.NDArray[Any]:
    """The samples, of shape [channels, samples]. Raises UnusableFrame.

    `frame.to_ndarray` counts the planes up to a null pointer, which is missing if there are 8 or more, and
    then reads memory that is not the frame's.
    """
    if frame.format.name not in format_dtypes:
        raise UnusableFrame(f"samples of type {frame.format.name}")
    kind = np.dtype(format_dtypes[frame.format.name])

    def plane(number: int, samples: int) -> npt.NDArray[Any]:
        return np.frombuffer(memoryview(AudioPlane(frame, number)), kind, samples)

    if frame.format.is_planar:
        return np.stack([plane(channel, frame.samples) for channel in range(channels)])
    return plane(0, frame.samples * channels).reshape(-1, channels).T


def scaled(values: npt.NDArray[Any]) -> Samples:
    """Of any sample type, from -1 to 1."""
    floats: Samples = values.astype(np.float32)
    if values.dtype.kind == "f":
        return floats
    half = np.float32(1 << (8 * values.dtype.itemsize - 1))
    return floats / half - (values.dtype.kind == "u")


def _samples(frame: av.AudioFrame) -> Samples:
    return cleaned(scaled(frame.to_ndarray().reshape(-1)))  # a filter overshoots
