"""Voice activity of a short piece of sound, answered at once."""

import io

import numpy as np

from host.audio.decode import check_pcm_rate, decode
from host.audio.samples import RATE, seconds
from host.audio.vad import FRAME, VoiceDetector, whole_frames
from host.audio.windows import settings_of, utterances
from host.engines.base import Body, RequestRefused
from ipc.errors import ErrorCode
from ipc.messages import DetectSpeech, SpeechDetected, SpeechSpan
from ipc.messages.transcription import MAX_DETECTION_SECONDS


def detect_speech(work: DetectSpeech, body: Body, detector: VoiceDetector) -> SpeechDetected:
    """Takes 3 ms of CPU for each second. Raises RequestRefused."""
    check_pcm_rate(work.pcm_rate)
    if len(body) // 2 > MAX_DETECTION_SECONDS * work.pcm_rate:
        message = f"speech is detected in at most {MAX_DETECTION_SECONDS:g} seconds of audio"
        raise RequestRefused(ErrorCode.INVALID_VALUE, message, "audio")
    if len(body) < 2:
        return SpeechDetected(work.request_id, 0.0)
    samples = np.concatenate(list(decode(io.BytesIO(body), work.pcm_rate)))
    settings = settings_of(work.voice_activity)
    found = utterances(detector.listen().hear(whole_frames(samples)), settings)
    duration = seconds(len(samples))
    spans = [SpeechSpan(span.start * FRAME / RATE, min(span.end * FRAME / RATE, duration)) for span in found]
    speaking = bool(found) and len(samples) - found[-1].end * FRAME < settings.silence * FRAME
    return SpeechDetected(work.request_id, duration, spans, speaking)
