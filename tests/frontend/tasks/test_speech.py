"""A speech job that waits for its client, on a stand-in for the router."""

import asyncio
from typing import Any

from frontend.errors import QueueFull
from frontend.tasks import speech as speech_module
from frontend.tasks.speech import BUFFER_BYTES, Sound, Speech
from ipc.messages import Speak


class QueueOfOthers:
    """A model whose queue is full for the first submissions after the start."""

    def __init__(self, refusals):
        self.submitted = 0
        self.dropped = 0
        self._refusals = refusals

    def now(self):
        return 0.0

    def submit(self, jobs):
        if self.submitted and self._refusals:
            self._refusals -= 1
            raise QueueFull("the queue is full", retry_after=1)
        self.submitted += len(jobs)

    def drop(self, jobs):
        self.dropped += len(jobs)

    def call_when_late(self, age_seconds, cancel):
        return asyncio.get_running_loop().call_later(600, cancel, TimeoutError())


def test_a_job_that_met_a_full_queue_is_submitted_once_however_often_the_client_reads(monkeypatch):
    monkeypatch.setattr(speech_module, "_RETRY_SECONDS", 0.001)

    async def scenario():
        model: Any = QueueOfOthers(refusals=1)
        speech = Speech(model, Speak(0, b""), b"", 24_000)
        speech.start(0.0)
        speech.push(Sound(bytes(BUFFER_BYTES), ends=False))
        while not model.dropped:
            await asyncio.sleep(0)
        for _ in range(4):
            speech.take()
        timers: list[bool] = []
        asyncio.get_running_loop().call_later(0.05, timers.append, True)
        while not timers:  # longer than all retries that were begun
            await asyncio.sleep(0.001)
        speech.close()
        return model.submitted

    assert asyncio.run(scenario()) == 2  # at the start, and after the wait
