"""What becomes of one request of another Nacelle when something is wrong here: no process, no socket."""

import asyncio
from typing import Any

import pytest

from frontend.errors import Overloaded
from frontend.remote.session import Session
from frontend.remote.wire import BodyPart, BodyStart, Leaving, Rejected, decode_from_peer, encode
from frontend.routing.router import Router, RouterOptions
from frontend.spool import Spool, Spools
from ipc.messages import Cancel, Transcribe


class NeverLoaded(Router):
    def __init__(self) -> None:
        super().__init__(RouterOptions(1024**2, 5.0))

    async def model(self, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()


class Broken(NeverLoaded):
    async def model(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError


class Peer:
    def __init__(self, folder: Any, router: Router) -> None:
        self.sent: list[Any] = []
        self.spools = Spools(folder, 1024)
        self.session = Session(router, "m", self.spools, 1024, self._send)
        self.session._uploads = True

    async def _send(self, frame: bytes) -> None:
        self.sent += decode_from_peer(frame)

    async def take(self, *messages: Any) -> None:
        await self.session.take(encode(messages))

    async def written(self, kind: type) -> Any:
        writing = asyncio.create_task(self.session.write())
        try:
            async with asyncio.timeout(10):
                while not any(isinstance(message, kind) for message in self.sent):
                    await asyncio.sleep(0)
        finally:
            writing.cancel()
        return next(message for message in self.sent if isinstance(message, kind))


UPLOAD = (BodyStart(1, 3), BodyPart(1, b"abc"), Transcribe(1, b""))


def test_an_upload_that_is_cancelled_before_it_begins_gives_its_room_back(tmp_path):
    async def scenario():
        peer = Peer(tmp_path, NeverLoaded())
        await peer.take(*UPLOAD, Cancel(1))
        assert (peer.spools._held, peer.session.requests) == (0, 0)
        await peer.take(*UPLOAD)
        assert peer.spools._held == 3
        peer.session.close()
        assert peer.spools._held == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("step", ["create", "write"])
def test_a_disk_that_fails_rejects_one_request(step, tmp_path, monkeypatch):
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    async def scenario():
        peer = Peer(tmp_path, NeverLoaded())
        monkeypatch.setattr(*((Spools, "create") if step == "create" else (Spool, "_append")), full)
        await peer.take(BodyStart(1, 3), BodyPart(1, b"abc"))
        rejected = await peer.written(Rejected)
        assert (rejected.request_id, rejected.kind) == (1, Overloaded.__name__)
        assert peer.spools._held == 0

    asyncio.run(scenario())


def test_what_is_unforeseen_rejects_the_request(tmp_path):
    async def scenario():
        peer = Peer(tmp_path, Broken())
        await peer.take(*UPLOAD)
        assert (await peer.written(Rejected)).kind == "InternalError"
        assert (peer.spools._held, peer.session.requests) == (0, 0)

    asyncio.run(scenario())


def test_a_peer_that_waits_for_the_model_holds_up_no_shutdown(tmp_path):
    async def scenario():
        peer = Peer(tmp_path, NeverLoaded())
        await asyncio.wait_for(peer.session.leave(), 10)
        writing = asyncio.create_task(peer.session.write())
        await asyncio.sleep(0)
        await asyncio.wait_for(peer.session.leave(), 10)
        assert any(isinstance(message, Leaving) for message in peer.sent)
        writing.cancel()

    asyncio.run(scenario())
