"""Images in requests: what reaches the host, what is refused before any work, and what errors name.

The host is a stand-in that keeps the work it is sent; a web server on this machine has the images.
"""

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from aiohttp import web

from frontend.config import ConfigError, Settings
from frontend.errors import Overloaded
from frontend.http.client import Client
from frontend.media.given import MAX_FETCHES
from frontend.media.loader import Loader
from ipc.errors import ErrorCode, RequestError
from ipc.lease import Lease
from ipc.messages import (
    Accepted,
    ChatMessage,
    ContentPart,
    Delta,
    Failed,
    Finish,
    Generate,
    MediaPart,
    TextCard,
    TextInput,
    TextPart,
    ToFrontend,
)
from tests.frontend.api import transcription_server
from tests.frontend.api.transcription_server import TranscriptionServer
from tests.frontend.media.test_fetch import PNG, WebServer, web_server

GIF = b"GIF89a" + bytes(100)
CHAT, RESPONSES = "/chat/completions", "/responses"
LOCAL = Settings(allowed_media_domains=["127.0.0.1"], allow_private_media=True)
_input = msgspec.msgpack.Decoder(TextInput).decode


def data_url(payload: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(payload).decode()}"


def text_card(takes_images: bool = True, chat_template: str = "") -> TextCard:
    return TextCard(
        device_name="CPU",
        slots=4,
        context_length=100,
        load_seconds=1.0,
        fingerprint="",
        properties={},
        vocab_size=10,
        kv_cache_tokens=100,
        chat_template=chat_template,
        takes_images=takes_images,
    )


class Server:
    """The application over the stand-in, and the web server with the images."""

    def __init__(self, application: TranscriptionServer, images: WebServer) -> None:
        self.application = application
        self.images = images
        self.bodies: list[bytes] = []
        self.error: str | None = None  # with which the host refuses
        self.param = "messages"
        application.host.reply = self._reply
        application.host.lease = self._lease  # type: ignore[method-assign]

    def _reply(self, work: Any) -> Sequence[ToFrontend]:
        if not isinstance(work, Generate):
            return []
        if isinstance(work.payload, bytes):
            self.bodies.append(work.payload)
        if self.error is not None:
            error = RequestError(ErrorCode.INVALID_VALUE, self.error, self.param)
            return [Failed(work.request_id, error)]
        return [Accepted(work.request_id, 1), Delta(work.request_id, [1], "Blue", Finish("stop"))]

    def _lease(self, body: Any) -> Lease:
        self.bodies.append(body)
        return Lease(slot=0, generation=0, offset=0, size=len(body))

    @property
    def messages(self) -> list[ChatMessage]:
        """What the host was given last."""
        prompt = _input(self.bodies[-1]).prompt
        return prompt.messages  # type: ignore[union-attr]

    async def post(self, path: str, status: int = 200, **fields: Any) -> Any:
        answer = await self.application.raw.post(path, json={"model": "m", **fields}, timeout=30)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def chat(self, *content: Any, **fields: Any) -> Any:
        return await self.post(CHAT, messages=[{"role": "user", "content": list(content)}], **fields)

    async def respond(self, *content: Any, **fields: Any) -> Any:
        return await self.post(RESPONSES, input=[{"role": "user", "content": list(content)}], **fields)

    async def refusal(self, *content: Any, status: int = 400, **fields: Any) -> tuple[str, str]:
        error = (await self.chat(*content, status=status, **fields))["error"]
        assert error["message"].startswith(f"{error['param']}: ")
        return error["param"], error["message"].partition(": ")[2]


def run(
    scenario: Callable[[Server], Awaitable[None]], settings: Settings = LOCAL, card: TextCard | None = None
) -> None:
    async def with_images(application: TranscriptionServer) -> None:
        async with web_server() as images:
            images.answers["/b.gif"] = lambda request: web.Response(body=GIF, content_type="image/gif")
            await scenario(Server(application, images))

    transcription_server.run(with_images, card or text_card(), settings)


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def image(url: str, detail: str | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def input_image(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, **fields}


def test_texts_and_images_keep_their_order_and_images_their_bytes():
    async def scenario(server: Server) -> None:
        await server.post(
            CHAT,
            messages=[
                {"role": "developer", "content": [text("Compare"), image(data_url(GIF, "image/gif"))]},
                {
                    "role": "user",
                    "content": [
                        image(server.images.url(), "low"),
                        text("a"),
                        text("b"),
                        {"type": "image_url", "image_url": f" {server.images.url('/b.gif')} "},
                        image(data_url(PNG), "original"),
                        image(data_url(PNG), "auto"),
                    ],
                },
            ],
        )
        assert server.messages == [
            ChatMessage("system", [TextPart("Compare"), MediaPart("image/gif", GIF)]),
            ChatMessage(
                "user",
                [
                    MediaPart("image/png", PNG, "low"),
                    TextPart("a"),
                    TextPart("b"),
                    MediaPart("image/gif", GIF),
                    MediaPart("image/png", PNG, "high"),
                    MediaPart("image/png", PNG),
                ],
            ),
        ]
        await server.chat(text("a"), text("b"))
        assert server.messages == [ChatMessage("user", "a\nb")]

    run(scenario)


def test_the_result_of_a_tool_may_hold_images():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    shown: list[ContentPart] = [
        TextPart("<tool_response>"),
        TextPart("a"),
        MediaPart("image/png", PNG),
        TextPart("</tool_response>"),
    ]

    async def scenario(server: Server) -> None:
        await server.post(
            CHAT,
            messages=[
                {"role": "user", "content": "?"},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": [text("a"), image(data_url(PNG))]},
            ],
        )
        assert server.messages[-1] == ChatMessage("user", [*shown])  # of a template that knows no tools
        output = [{"type": "input_text", "text": "a"}, input_image(data_url(PNG))]
        await server.post(
            RESPONSES,
            input=[
                {"role": "user", "content": "?"},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": output},
            ],
        )
        assert server.messages[-1] == ChatMessage("user", [*shown])

    run(scenario)


def test_tools_are_explained_after_the_images_of_the_system_message():
    tool = {"type": "function", "function": {"name": "f"}}

    async def scenario(server: Server) -> None:
        system = {"role": "system", "content": [image(data_url(PNG)), text("Be brief")]}
        await server.post(CHAT, messages=[system, {"role": "user", "content": "?"}], tools=[tool])
        content = server.messages[0].content
        assert content is not None
        assert content[:-1] == [MediaPart("image/png", PNG), TextPart("Be brief")]
        assert '"name": "f"' in server.messages[0].text

    run(scenario)


def test_a_url_that_occurs_twice_is_fetched_once_and_others_at_the_same_time():
    async def scenario(server: Server) -> None:
        both = asyncio.Barrier(2)

        async def wait(request: web.Request) -> web.Response:
            await both.wait()
            return web.Response(body=PNG, content_type="image/png")

        server.images.answers |= {"/1": wait, "/2": wait}
        urls = [server.images.url(path) for path in ("/1", "/2", "/1")]
        await server.chat(*map(image, urls))
        assert len(server.messages[0].content or "") == 3
        assert sorted(request.path for request in server.images.requests) == ["/1", "/2"]

    run(scenario)


def test_a_model_that_takes_only_text_is_refused_before_anything_is_fetched():
    async def scenario(server: Server) -> None:
        for url in (server.images.url(), data_url(PNG), "nonsense"):
            where, message = await server.refusal(text("a"), image(url))
            assert (where, message) == ("messages[0].content[1]", "the model 'm' takes only text")
            answer = await server.respond(input_image(url), status=400)
            assert answer["error"]["param"] == "input[0].content[0]"
        assert not server.images.requests
        assert not server.bodies

    run(scenario, card=text_card(takes_images=False))


@pytest.mark.parametrize(
    ("part", "field", "reason"),
    [
        (image("x"), ".image_url.url", "must begin with data:, http:// or https://"),
        ({"type": "image_url", "image_url": "x"}, ".image_url", "must begin with"),
        (image("data:text/plain,x"), ".image_url.url", "image type"),
        (image("data:image/png;base64,*"), ".image_url.url", "not valid base64"),
        (image("https://www.example.com/a"), ".image_url.url", "--allowed-media-domain www.example.com"),
        (image("http://127.0.0.1:9/a"), ".image_url.url", "names a port that images are not fetched from"),
    ],
)
def test_an_image_that_cannot_be_had_is_named(part, field, reason):
    async def scenario(server: Server) -> None:
        where, message = await server.refusal(text("a"), image(data_url(PNG)), part)
        assert where == f"messages[0].content[2]{field}"
        assert reason in message
        assert not server.bodies

    run(scenario)


def test_nothing_is_fetched_unless_a_domain_is_allowed():
    async def scenario(server: Server) -> None:
        for url in (server.images.url(), "HTTP://WWW.example.com/a", "https:///"):
            _, message = await server.refusal(image(url))
            assert (
                "is not fetched by this server; send a data URL, or start the server with --allowed"
                in message
            )
        assert not server.images.requests
        await server.chat(image(data_url(PNG)))

    run(scenario, Settings())


def test_a_domain_that_no_url_can_have_is_an_error_of_the_settings():
    with pytest.raises(ConfigError, match="allowed_media_domains"):
        run(lambda server: asyncio.sleep(0), Settings(allowed_media_domains=["https://a.example"]))


def test_numbers_and_sizes_are_limited():
    settings = Settings(max_images=2, max_image_bytes=4096)

    async def scenario(server: Server) -> None:
        small, large = (image(data_url(b"x" * size)) for size in (4096, 4097))
        await server.chat(small)
        assert await server.refusal(small, small, small) == (
            "messages[0].content[2]",
            "a request may have at most 2 images (setting max_images)",
        )
        where, message = await server.refusal(small, large)
        assert (where, "more than 4096 bytes" in message) == ("messages[0].content[1].image_url.url", True)

    run(scenario, settings)


def test_the_images_of_a_request_are_limited_together():
    settings = Settings(max_image_bytes=8192, arena_bytes=10_000, allowed_media_domains=["*"])

    async def scenario(server: Server) -> None:
        first, second = (image(data_url(byte * 5001)) for byte in (b"a", b"b"))
        for images in ((first, second), (first, first)):
            where, message = await server.refusal(*images)
            assert where.startswith("messages[0].content[")
            assert "at most 10000 bytes together" in message

    run(scenario, settings)


@pytest.mark.parametrize("takes_images", [True, False])
def test_bytes_of_images_do_not_count_as_those_of_the_body_where_a_model_takes_them(takes_images):
    settings = Settings(max_body_bytes=4096)
    url = data_url(b"x" * 6000)

    async def scenario(server: Server) -> None:
        for path, fields in (
            (CHAT, {"messages": [{"role": "user", "content": [image(url)]}]}),
            (RESPONSES, {"input": [{"role": "user", "content": [input_image(url)]}]}),
        ):
            await server.post(path, 200 if takes_images else 413, **fields)
            for other in ({"instructions": "x" * 4096}, {"unknown": url}):
                error = (await server.post(path, 413, **fields, **other))["error"]
                assert error["message"] == "the request body exceeds 4096 bytes"
        await server.post(CHAT, 413, messages=[{"role": "user", "content": url}])

    run(scenario, settings, text_card(takes_images))


def test_what_a_host_refuses_is_named_by_its_place_in_the_request():
    async def scenario(server: Server) -> None:
        server.error = "image 2 is damaged"
        where, message = await server.refusal(image(data_url(PNG)), text("a"), image(data_url(GIF)))
        assert (where, message) == ("messages[0].content[2]", "the image is damaged")
        answer = await server.respond(
            input_image(data_url(PNG)), input_image(data_url(GIF)), status=400, instructions="Look"
        )
        assert answer["error"]["param"] == "input[0].content[1]"
        server.error = "image 9 is damaged"  # which no request has
        assert (await server.chat(image(data_url(PNG)), status=400))["error"]["param"] == "messages"

    run(scenario)


def test_a_host_that_cannot_truncate_a_response_is_quoted_with_the_name_of_the_parameter_there():
    async def scenario(server: Server) -> None:
        server.error, server.param = "leave out truncate_prompt_tokens", "truncate_prompt_tokens"
        answer = await server.respond(input_image(data_url(PNG)), status=400, truncation="auto")
        assert answer["error"]["param"] == "truncation"
        assert answer["error"]["message"] == "leave out truncation"

    run(scenario)


@pytest.mark.parametrize("path", ["/tokenize", "/v1/chat/completions/render"])
def test_a_prompt_with_images_is_not_shown(path):
    async def scenario(server: Server) -> None:
        messages = [{"role": "user", "content": [text("a"), image(server.images.url())]}]
        base = server.application.base_url.removesuffix("/v1")
        answer = await server.post(base + path, 400, messages=messages)
        assert answer["error"]["param"] == "messages[0].content[1]"
        assert not server.images.requests

    run(scenario)


def test_a_session_keeps_its_images():
    async def scenario(server: Server) -> None:
        await server.chat(image(server.images.url()), session_id="s")
        del server.images.answers["/a.png"]
        await server.post(CHAT, session_id="s", messages=[{"role": "user", "content": "And?"}])
        assert server.messages == [
            ChatMessage("user", [MediaPart("image/png", PNG)]),
            ChatMessage("assistant", "Blue"),
            ChatMessage("user", "And?"),
        ]
        server.error = "image 1 is damaged"
        assert (await server.refusal(image(data_url(GIF)), session_id="s"))[0] == "session_id"
        server.error = "image 2 is damaged"
        assert (await server.refusal(image(data_url(GIF)), session_id="s"))[0] == "messages[0].content[0]"

    run(scenario)


def test_a_session_with_images_does_not_go_on_with_a_model_that_takes_only_text():
    async def scenario(server: Server) -> None:
        await server.chat(image(data_url(PNG)), session_id="s")
        server.application.host.card = text_card(takes_images=False)
        route = server.application.route
        route._ready(route.replicas[0], text_card(takes_images=False))
        where, _ = await server.refusal(text("And?"), session_id="s")
        assert where == "session_id"

    run(scenario)


def test_a_session_is_limited_by_its_entry_in_the_store():
    settings = Settings(session_max_bytes=40_000, max_image_bytes=20_000)

    async def scenario(server: Server) -> None:
        await server.chat(image(data_url(b"x" * 5000)), session_id="s")
        where, message = await server.refusal(image(data_url(b"y" * 5000)), session_id="s")
        assert (where, message) == (
            "session_id",
            "a conversation is limited to 10000 bytes, images included; start a new one",
        )
        count = len(server.bodies)
        answer = await server.respond(input_image(data_url(b"x" * 8000)), status=413)
        assert "too large for the session store" in answer["error"]["message"]
        assert len(server.bodies) == count
        await server.respond(input_image(data_url(b"x" * 8000)), store=False)

    run(scenario, settings)


@pytest.mark.parametrize("background", [False, True])
def test_a_response_keeps_its_images(background):
    async def scenario(server: Server) -> None:
        url = server.images.url()
        first = await server.respond(
            {"type": "input_text", "text": "Look"},
            input_image(url, detail="low"),
            input_image(data_url(GIF)),
            background=background,
        )
        del server.images.answers["/a.png"]
        while first["status"] in ("queued", "in_progress"):
            first = (await server.application.raw.get(f"{RESPONSES}/{first['id']}")).json()
        kept = (await server.application.raw.get(f"{RESPONSES}/{first['id']}/input_items")).json()["data"]
        assert kept[0]["content"] == [
            {"type": "input_text", "text": "Look"},
            {"type": "input_image", "image_url": url, "detail": "low", "file_id": None},
            {"type": "input_image", "image_url": data_url(GIF), "detail": "auto", "file_id": None},
        ]
        second = await server.respond(input_image(url), previous_response_id=first["id"])
        looked = [TextPart("Look"), MediaPart("image/png", PNG, "low"), MediaPart("image/png", GIF)]
        assert [message.content for message in server.messages] == [
            looked,
            "Blue",
            [MediaPart("image/png", PNG)],
        ]
        third = {"type": "item_reference", "id": kept[0]["id"]}
        await server.post(RESPONSES, input=[third], previous_response_id=second["id"])
        assert server.messages[0].content == looked
        assert len(server.images.requests) == 1
        server.error = "image 1 is damaged"
        answer = await server.post(RESPONSES, 400, input="And?", previous_response_id=second["id"])
        assert answer["error"]["param"] == "input"

    run(scenario)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_fetches_of_its_images(stream):
    async def scenario(server: Server) -> None:
        begun = asyncio.Event()

        async def wait(request: web.Request) -> None:
            begun.set()
            await asyncio.Event().wait()

        server.images.answers["/wait"] = wait
        asking = asyncio.create_task(server.chat(image(server.images.url("/wait")), stream=stream))
        await begun.wait()
        asking.cancel()
        await asyncio.wait([asking])
        await asyncio.wait_for(server.images.ended.wait(), 10)
        assert not server.bodies

    run(scenario)


def test_a_refused_image_ends_the_fetches_of_the_others():
    async def scenario(server: Server) -> None:
        async def wait(request: web.Request) -> None:
            await asyncio.Event().wait()

        server.images.answers["/wait"] = wait
        where, _ = await server.refusal(image(server.images.url("/wait")), image("http://127.0.0.1:9/"))
        assert where == "messages[0].content[1].image_url.url"

    run(scenario)


def test_a_fetch_that_finds_no_room_in_time_is_told_to_come_again():
    settings = Settings(
        allowed_media_domains=["127.0.0.1"], allow_private_media=True, media_fetch_seconds=0.1
    )

    async def inside() -> None:
        loader = Loader(settings)
        async with web_server() as images, contextlib.AsyncExitStack() as busy:
            for _ in range(MAX_FETCHES):
                await busy.enter_async_context(loader._turn())
            with pytest.raises(Overloaded) as caught:
                await loader.load(images.url())
            assert caught.value.retry_after == 1
            await busy.aclose()
            assert (await loader.load(images.url())).payload == PNG
            assert len(images.requests) == 1

    asyncio.run(inside())


def test_a_request_that_is_done_is_not_kept_by_its_connection():
    client = Client(lambda: 0.0)
    called: list[int] = []
    client.on_leave(lambda: called.append(1))
    client.forget()
    client.leave()
    assert not called
