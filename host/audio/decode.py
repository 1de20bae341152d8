"""From an uploaded file to samples, block by block, so that hours of sound are never held at once."""

import math
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import av
import numpy as np

from host.audio.resample import HIGHEST_RATE, LOWEST_RATE, MonoResampler, UnusableFrame, mono, scaled
from host.audio.samples import RATE, Samples, silence
from host.engines.base import RequestRefused
from ipc.errors import ErrorCode

# What may read a file at all: no playlists, no images, nothing that opens other files.
_DEMUXERS = (
    "wav,w64,mp3,flac,ogg,matroska,webm,mov,mp4,m4a,3gp,aac,amr,amrnb,amrwb,aiff,au,caf,ac3,eac3,"
    "avi,asf,flv,mpegts,mpeg"
)
_CODECS = (
    "mp3float,mp3,mp2float,mp2,mp1float,mp1,aac,aac_fixed,aac_latm,opus,libopus,vorbis,libvorbis,flac,"
    "alac,amrnb,amrwb,libopencore_amrnb,libopencore_amrwb,ac3,ac3_fixed,eac3,wmav1,wmav2,wmapro,"
    "adpcm_ima_wav,adpcm_ima_qt,adpcm_ms,adpcm_swf,gsm,gsm_ms,nellymoser,speex,libspeex,"
    "pcm_alaw,pcm_mulaw,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be"
)
_OPTIONS = {
    "format_whitelist": _DEMUXERS,
    "codec_whitelist": _CODECS,
    "protocol_whitelist": "none",  # the file is read through us alone
    "probesize": str(4 * 1024**2),
    "analyzeduration": "5000000",  # microseconds
}
_BUFFER_BYTES = 256 * 1024
_BLOCK_SAMPLES = RATE  # a block is a second, more or less
_BLOCK_PACKETS = 1000  # or this many packets, if they hold next to nothing
_GAP_SECONDS = 0.1  # a later timestamp than expected means that sound is missing, unless it is only rounded
_GAP_MAX_SECONDS = 3600.0  # beyond that, the clock was set, or is damaged
_TRIAL_PACKETS = 64  # of the first, most must decode: noise is easily taken for MP3

_FORMATS = "use WAV, MP3, FLAC, Ogg, WebM or M4A"


def decode(file: BinaryIO, pcm_rate: int = 0, max_seconds: float = math.inf) -> Iterator[Samples]:
    """The sound of a file in blocks of about a second, some of them empty.

    `pcm_rate`: the file is mono s16le PCM of this rate; 0: a container, which states its own. Of a damaged
    file, the blocks are what can be decoded; what is missing in between is silence. Raises RequestRefused if
    that is nothing, or as soon as there is more than `max_seconds`.
    """
    if not file.read(1):
        _refuse("the file is empty")
    file.seek(0)
    blocks = _pcm(file, pcm_rate) if pcm_rate else _container(file, max_seconds)
    return _bounded(blocks, max_seconds)


def _bounded(blocks: Iterator[Samples], max_seconds: float) -> Iterator[Samples]:
    samples = 0
    for block in blocks:
        samples += len(block)
        _check_duration(samples / RATE, max_seconds)
        yield block


def _check_duration(seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        _refuse(f"the recording is longer than {max_seconds:g} seconds; send it in parts")


def _refuse(message: str) -> NoReturn:
    raise RequestRefused(ErrorCode.INVALID_VALUE, message, "file")


# --- PCM -----------------------------------------------------------------------------------------------


def check_pcm_rate(rate: int) -> None:
    """Raises RequestRefused."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        message = f"{rate} samples a second are outside of {LOWEST_RATE} to {HIGHEST_RATE}"
        raise RequestRefused(ErrorCode.INVALID_VALUE, message, "pcm_rate")


def _pcm(file: BinaryIO, rate: int) -> Iterator[Samples]:
    check_pcm_rate(rate)
    resampler = MonoResampler()
    while data := file.read(2 * rate):
        values = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
        if not len(values):  # a last, odd byte
            break
        yield resampler.convert(scaled(values), rate)
    yield resampler.flush()


# --- containers ----------------------------------------------------------------------------------------


def _container(file: BinaryIO, max_seconds: float) -> Iterator[Samples]:
    container = _open(file)
    try:
        _check_duration((container.duration or 0) / av.time_base, max_seconds)
        stream = _audio_stream(container)
        yield from _Decoding(container, stream).blocks()
    finally:
        container.close()


def _forbid(url: str, *_: Any) -> NoReturn:
    raise PermissionError(f"{url!r} is another file")


def _open(file: BinaryIO) -> Any:
    try:
        return av.open(
            file, options=_OPTIONS, metadata_errors="replace", buffer_size=_BUFFER_BYTES, io_open=_forbid
        )
    except (av.FFmpegError, OSError, ValueError):
        _refuse(f"the file is not audio of a known format, or its beginning is damaged; {_FORMATS}")


def _audio_stream(container: Any) -> Any:
    """The first audio stream that can be decoded."""
    streams = container.streams.audio
    if not streams:
        _refuse("the file has no audio track")
    for stream in streams:
        context = stream.codec_context
        if context is not None and context.codec.name in _CODECS.split(","):
            return stream
    names = {stream.codec_context.codec.name for stream in streams if stream.codec_context is not None}
    _refuse(f"audio of type {', '.join(sorted(names))[:80] or 'unknown'} is not supported; {_FORMATS}")


class _Decoding:
    """One container on its way to samples, in time with the container's clock."""

    def __init__(self, container: Any, stream: Any) -> None:
        self._packets = container.demux(stream)
        self._tick = float(stream.time_base or 0)  # seconds
        self._resampler = MonoResampler()
        start = container.start_time
        self._clock = start / av.time_base if start is not None else None  # what it shows at our position
        self._good = self._bad = 0  # frames and packets

    def blocks(self) -> Iterator[Samples]:
        waiting: list[Samples] = []
        samples = 0
        for part in self._parts():
            waiting.append(part)
            samples += len(part)
            if samples >= _BLOCK_SAMPLES or len(waiting) >= _BLOCK_PACKETS:
                yield np.concatenate(waiting)
                waiting, samples = [], 0
        yield np.concatenate([*waiting, silence(0)])

    def _parts(self) -> Iterator[Samples]:
        while (packet := self._next_packet()) is not None:
            yield from self._decoded(packet)
            yield silence(0)
        if not self._good and not self._bad:
            _refuse("the file holds no sound")
        if self._mostly_bad():
            _refuse(f"the file is damaged: none of its audio can be decoded; {_FORMATS}")
        try:
            yield self._resampler.flush()
        except av.FFmpegError:
            return

    def _next_packet(self) -> Any:
        """None at the end, be it the file's or of what can be read."""
        try:
            return next(self._packets, None)
        except (av.FFmpegError, OSError, ValueError, IndexError):  # IndexError: streams that appeared later
            return None

    def _decoded(self, packet: Any) -> Iterator[Samples]:
        try:
            for frame in packet.decode():
                yield from self._in_time(frame)
                self._good += 1
        except UnusableFrame as error:
            _refuse(f"the file's audio has {error}; {_FORMATS}")
        except (av.FFmpegError, ValueError):
            self._bad += 1
            if self._bad > _TRIAL_PACKETS // 2 and self._mostly_bad():
                _refuse(f"the file is damaged, or not audio; {_FORMATS}")

    def _mostly_bad(self) -> bool:
        """Whether the beginning of the file is so damaged that it may be something else."""
        return self._good < min(self._bad, _TRIAL_PACKETS)

    def _in_time(self, frame: Any) -> Iterator[Samples]:
        """A frame's samples, and silence before them where the container's clock shows a gap."""
        samples, rate = mono(frame), frame.sample_rate
        if frame.pts is not None and self._tick:
            clock = frame.pts * self._tick
            missing = clock - self._clock if self._clock is not None else 0.0
            if _GAP_SECONDS < missing < _GAP_MAX_SECONDS:
                yield self._resampler.flush()
                yield from _gap(missing)
            if self._clock is None or missing < 0 or missing > _GAP_SECONDS:
                self._clock = clock
        if self._clock is not None:
            self._clock += len(samples) / rate
        yield self._resampler.convert(samples, rate)


def _gap(duration: float) -> Iterator[Samples]:
    missing = round(duration * RATE)
    while missing > 0:
        yield silence(min(missing, _BLOCK_SAMPLES))
        missing -= _BLOCK_SAMPLES
