"""Recordings as files of any format, made with FFmpeg's encoders."""

import io
from typing import Any, NamedTuple

import av
import numpy as np

from host.audio.samples import RATE, Samples


class Kind(NamedTuple):
    container: str
    codec: str
    rate: int
    layout: str = "mono"


_OPUS_RATE = 48_000
_LAYOUTS = {7: "6.1", 8: "7.1", 16: "hexadecagonal", 24: "22.2"}

KINDS = {
    "wav": Kind("wav", "pcm_s16le", 44_100, "stereo"),
    "wav-float": Kind("wav", "pcm_f32le", 16_000),
    "mp3": Kind("mp3", "mp3", 44_100, "stereo"),
    "flac": Kind("flac", "flac", 48_000),
    "opus": Kind("ogg", "libopus", 48_000),
    "webm": Kind("webm", "libopus", 48_000, "stereo"),
    "m4a": Kind("mp4", "aac", 44_100),
    "aac": Kind("adts", "aac", 22_050),
}


def encoded(samples: Samples, kind: str, metadata: str = "") -> bytes:
    """`metadata`: the file's title."""
    container_format, codec, rate, layout = KINDS[kind]
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        container.metadata["title"] = metadata
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        resampler = av.AudioResampler(
            format=stream.format, layout=layout, rate=rate, frame_size=stream.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "flt", "mono")
        frame.sample_rate = RATE
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return file.getvalue()


def surround(samples: Samples, codec: str, channels: int) -> bytes:
    """The same sound in every channel."""
    layout = _LAYOUTS[channels]
    options = {} if codec == "aac" else {"mapping_family": "1" if channels <= 8 else "255"}
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream: Any = container.add_stream(codec, rate=_OPUS_RATE, layout=layout, options=options)
        resampler = av.AudioResampler(format=stream.format, layout=layout, rate=_OPUS_RATE, frame_size=960)
        same = np.repeat(samples, channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(same, "flt", layout)
        frame.sample_rate = RATE
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return file.getvalue()
