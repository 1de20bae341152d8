"""The serving side: one connection of another Nacelle, whose work becomes jobs of a model here."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from frontend.errors import BadRequest, Overloaded, RequestTooLarge, ServerError
from frontend.remote.failures import rejection
from frontend.remote.wire import BodyPart, BodyStart, Leaving, Rejected, decode_to_peer, encode, frames
from frontend.routing.job import Body
from frontend.routing.lifecycle import Phase
from frontend.routing.router import Model, Router
from frontend.spool import Spool, Spools
from frontend.tasks.relayed import RelayedJob
from ipc.channel import ChannelError
from ipc.messages import (
    Cancel,
    Failed,
    Fatal,
    Gauges,
    Message,
    ModelCard,
    Produced,
    Ready,
    Reply,
    Work,
    task_with,
)

MAX_REQUESTS = 4096  # of one connection
MAX_HELD_BYTES = 512 * 1024**2  # of payloads in memory
MAX_UNSENT_BYTES = 64 * 1024**2  # of replies that the other side does not read
_RETRY_SECONDS = 10  # after a disk's failure
_MESSAGE_BYTES = 256  # assumed of a reply, besides its payload

log = logging.getLogger("nacelle.remote")


class _Incoming(msgspec.Struct):
    """A payload that arrives in parts."""

    size: int
    spool: Spool | None  # a file's
    data: bytearray

    @property
    def arrived(self) -> int:
        return len(self.data) if self.spool is None else len(self.spool)

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


class Session:
    """Implements `tasks.relayed.Outlet`. Whatever is wrong with one request fails that request; what breaks
    the protocol raises ChannelError and ends the connection."""

    def __init__(
        self,
        router: Router,
        model: str,
        spools: Spools,
        max_upload_bytes: int,
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._router = router
        self._model = model
        self._spools = spools
        self._max_upload_bytes = max_upload_bytes
        self._send = send
        self._jobs: dict[int, RelayedJob] = {}
        self._starting: dict[int, tuple[asyncio.Task[None], Body]] = {}  # what waits for the model
        self._incoming: dict[int, _Incoming] = {}
        self._unsent: list[Message] = []
        self._unsent_bytes = 0
        self._wake = asyncio.Event()
        self._uploads = False  # the model takes files
        self._idle = asyncio.Event()
        self._reported = Gauges(0, 0)
        self._writing = False  # what is said is sent

    @property
    def requests(self) -> int:
        return len(self._jobs) + len(self._starting)

    async def open(self) -> None:
        """Send the model's card once it is loaded. Raises ServerError after a Fatal that says why not."""
        try:
            model = await self._router.model(self._model)
        except ServerError as error:
            await self._send(encode([Fatal(error.message)]))
            raise
        self._uploads = task_with(model.card).uploads
        await self._send(encode([Ready(self._card(model))]))

    def _card(self, model: Model) -> ModelCard:
        """With the slots of all replicas: they are one host to the other side."""
        hosts = self._router.route(self._model).hosts
        slots = sum(host.card.slots for host in hosts if host.card) or model.card.slots
        return msgspec.structs.replace(model.card, slots=slots)

    async def leave(self) -> None:
        """The server shuts down: finish what the other side has sent, and let it send no more."""
        if not (self._writing or self.requests or self._incoming):
            return  # the model is still loaded: nothing was sent yet
        self._idle.clear()
        self._say(Leaving())
        self._wake.set()
        await self._idle.wait()

    def _check_idle(self) -> None:
        """Replies that are not sent yet count as work."""
        if not (self.requests or self._incoming or self._unsent):
            self._idle.set()

    # --- what arrives ---

    async def take(self, frame: bytes) -> None:
        """Handle a frame. Raises ChannelError."""
        for message in decode_to_peer(frame):
            match message:
                case Work():
                    self._begin(message)
                case Cancel(number):
                    self._forget(number)
                case BodyStart():
                    self._announced(message)
                case BodyPart():
                    await self._part(message)
                case _:
                    raise ChannelError(f"an unexpected {type(message).__name__}")
        self._wake.set()

    def _announced(self, message: BodyStart) -> None:
        limit = self._max_upload_bytes if self._uploads else self._router.options.arena_bytes
        if message.request_id in self._incoming or message.size <= 0:
            raise ChannelError("a payload that begins twice, or is empty")
        if message.size > limit:
            error = RequestTooLarge(f"{message.size} bytes exceed the {limit} that this server takes")
            self._reject(message.request_id, error)
            return
        if self.requests + len(self._incoming) >= MAX_REQUESTS:
            raise ChannelError(f"more than {MAX_REQUESTS} requests at once")
        if self._held_bytes + message.size > MAX_HELD_BYTES:
            self._reject(
                message.request_id, Overloaded("too many large requests of one server", retry_after=1)
            )
            return
        try:
            spool = self._spools.create() if self._uploads else None
        except OSError as error:
            self._reject(message.request_id, _not_kept(error))
            return
        self._incoming[message.request_id] = _Incoming(message.size, spool, bytearray())

    @property
    def _held_bytes(self) -> int:
        """Of payloads that are not in files."""
        arriving = sum(incoming.size for incoming in self._incoming.values() if incoming.spool is None)
        return arriving + sum(len(job.body) for job in self._jobs.values() if isinstance(job.body, bytes))

    async def _part(self, part: BodyPart) -> None:
        """Parts of what was cancelled or refused may still be on their way."""
        incoming = self._incoming.get(part.request_id)
        if incoming is None:
            return
        if incoming.arrived + len(part.data) > incoming.size:
            raise ChannelError("a payload longer than announced")
        if incoming.spool is None:
            incoming.data += part.data
            return
        try:
            await incoming.spool.write(part.data)
        except (ServerError, OSError) as error:
            self._drop_incoming(part.request_id)
            refusal = error if isinstance(error, ServerError) else _not_kept(error)
            self._reject(part.request_id, refusal)

    def _drop_incoming(self, number: int) -> None:
        incoming = self._incoming.pop(number, None)
        if incoming is not None:
            incoming.close()

    def _begin(self, work: Work) -> None:
        number = work.request_id
        if number in self._jobs or number in self._starting:
            raise ChannelError("two requests with one id")
        if self.requests >= MAX_REQUESTS:
            raise ChannelError(f"more than {MAX_REQUESTS} requests at once")
        assert isinstance(work.payload, bytes)  # checked where it was decoded
        body: Body = work.payload
        incoming = self._incoming.pop(number, None)
        if incoming is not None:
            if incoming.arrived != incoming.size:
                incoming.close()
                raise ChannelError("a payload shorter than announced")
            body = incoming.spool if incoming.spool is not None else bytes(incoming.data)
        work.payload = b""
        task = asyncio.create_task(self._submit(work, body))
        self._starting[number] = task, body

    async def _submit(self, work: Work, body: Body) -> None:
        """Whoever cancels it closes the body: a task that has not begun runs none of this."""
        number = work.request_id
        try:
            model = await self._router.model(self._model)
            job = RelayedJob(work, body, model, self)
            self._jobs[number] = job
            model.submit([job])
        except Exception as error:
            if not isinstance(error, ServerError):
                log.exception("work of another server could not be begun")
            self._jobs.pop(number, None)
            _close(body)
            self._reject(number, error)
        self._starting.pop(number, None)
        self._wake.set()

    def _forget(self, number: int) -> None:
        self._drop_incoming(number)
        if (starting := self._starting.pop(number, None)) is not None:
            task, body = starting
            task.cancel()
            _close(body)
        if (job := self._jobs.pop(number, None)) is not None:
            self._drop(job)

    def _drop(self, job: RelayedJob) -> None:
        if not job.ended:
            job.model.drop([job])
        _close(job.body)

    def close(self) -> None:
        """The connection is gone: nobody waits for anything."""
        for number in [*self._jobs, *self._starting, *self._incoming]:
            self._forget(number)
        self._idle.set()

    # --- what is answered: the jobs' outlet ---

    def reply(self, job: RelayedJob, reply: Reply) -> None:
        if self._jobs.get(job.number) is not job:
            return
        if isinstance(reply, Produced):
            self._unsent_bytes += len(reply.payload) if isinstance(reply.payload, bytes) else 0
        self._say(reply)
        if reply.ends:
            del self._jobs[job.number]
            _close(job.body)

    def fail(self, job: RelayedJob, error: Exception) -> None:
        if self._jobs.get(job.number) is job:
            del self._jobs[job.number]
            _close(job.body)
            self._reject(job.number, error)

    def flush(self) -> None:
        self._wake.set()

    def _reject(self, number: int, error: Exception) -> None:
        message: Failed | Rejected = rejection(number, error)
        if isinstance(error, BadRequest):
            log.warning("work of another server was rejected: %s", error)
        self._say(message)
        self._wake.set()

    def _say(self, message: Message) -> None:
        self._unsent.append(message)
        self._unsent_bytes += _MESSAGE_BYTES

    def _report_gauges(self) -> None:
        """Looks at all jobs, hence once for whatever was said together."""
        phases = [job.state.phase for job in self._jobs.values()]
        waiting = sum(phase in (Phase.QUEUED, Phase.SUSPECT) for phase in phases)
        gauges = Gauges(len(phases) - waiting, waiting + len(self._starting))
        if gauges != self._reported:
            self._reported = gauges
            self._say(gauges)

    async def write(self) -> None:
        """Send what there is to send, for ever. Raises ChannelError if the other side does not read."""
        self._writing = True
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._report_gauges()
            messages: list[Message] = self._unsent
            self._unsent, self._unsent_bytes = [], 0
            for frame in frames(messages):
                await self._send_in_time(frame)
            self._check_idle()

    async def _send_in_time(self, frame: bytes) -> None:
        sending = asyncio.ensure_future(self._send(frame))
        try:
            while not (await asyncio.wait([sending], timeout=1.0))[0]:
                if self._unsent_bytes > MAX_UNSENT_BYTES:
                    raise ChannelError("the other side does not read")
            sending.result()
        finally:
            sending.cancel()


def _not_kept(error: OSError) -> Overloaded:
    log.error("an upload of another server cannot be kept: %s", error)
    return Overloaded("uploads cannot be kept now", retry_after=_RETRY_SECONDS)


def _close(body: Body) -> None:
    if isinstance(body, Spool):
        body.close()
