"""Images through the whole server, with a stand-in model that names the colours of a picture's halves."""

import base64
import io
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.e2e.serving import EXACT, Serving, wait_for
from tests.models.vision import COLOURS

NAME = "eyes"
LOADS_SECONDS = 240.0  # that a busy machine may need to load the model three times
QUESTION = {"type": "text", "text": "Which colours?"}


def data_url(top: str, bottom: str, side: int = 64, note: str = "") -> str:
    """A PNG file, perhaps with a text in its metadata."""
    info = PngInfo()
    if note:
        info.add_text("Comment", note)
    picture = Image.new("RGB", (side, side), COLOURS[top])
    picture.paste(COLOURS[bottom], (0, side // 2, side, side))
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=0, pnginfo=info)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


RED_BLUE, GREEN_YELLOW = data_url("red", "blue"), data_url("green", "yellow")


@pytest.fixture(scope="module")
def server(vision_ir: Path) -> Iterator[Serving]:
    with Serving([str(vision_ir)], ("--name", NAME, *EXACT), {"NACELLE_FAULTS": "1"}) as serving:
        yield serving.wait_until_ready(NAME)


def image(url: str) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


def chat(server: Serving, *parts: object, **fields: Any) -> str:
    asked: dict[str, Any] = {
        "model": NAME,
        "messages": [{"role": "user", "content": list(parts)}],
        "temperature": 0,
        "max_tokens": 20,
    }
    answer = server.client().chat.completions.create(**asked | fields)
    return answer.choices[0].message.content or ""


def test_an_answer_follows_its_image_alone_and_beside_others(server: Serving):
    red, green = chat(server, QUESTION, image(RED_BLUE)), chat(server, QUESTION, image(GREEN_YELLOW))
    assert "red" in red
    assert "green" in green
    parts = [(QUESTION, image(RED_BLUE)), (QUESTION, image(GREEN_YELLOW)), (QUESTION,)] * 2
    with ThreadPoolExecutor(len(parts)) as pool:
        together = list(pool.map(lambda given: chat(server, *given), parts))
    assert together[:2] == together[3:5] == [red, green]


def test_an_image_of_megabytes_crosses_to_the_host(server: Serving):
    assert "red" in chat(server, QUESTION, image(data_url("red", "blue", side=1800)))


def test_a_response_and_the_next_one_see_the_image(server: Serving):
    client = server.client()
    first = client.responses.create(
        model=NAME,
        temperature=0,
        max_output_tokens=12,
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Which colours?"},
                    {"type": "input_image", "image_url": GREEN_YELLOW, "detail": "auto"},
                ],
            }
        ],
    )
    assert "green" in first.output_text
    second = client.responses.create(
        model=NAME,
        temperature=0,
        max_output_tokens=12,
        previous_response_id=first.id,
        input="Which colour is at the top?",
    )
    assert "green" in second.output_text or "yellow" in second.output_text
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens


@pytest.mark.parametrize(
    ("url", "param", "reason"),
    [
        ("data:image/png;base64,QUJDRA", "messages[0].content[2]", "the image is damaged"),
        ("data:image/png;base64,****", "messages[0].content[2].image_url.url", "base64"),
        ("http://127.0.0.1/a.png", "messages[0].content[2].image_url.url", "--allowed-media-domain"),
    ],
)
def test_an_image_that_cannot_be_used_is_a_400_that_names_it(server: Serving, url, param, reason):
    pid = server.host_pid(NAME)
    messages = [{"role": "user", "content": [QUESTION, image(RED_BLUE), image(url)]}]
    answer = server.http.post("/v1/chat/completions", json={"model": NAME, "messages": messages})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert reason in error["message"]
    assert server.host_pid(NAME) == pid


def test_an_answer_about_an_image_survives_the_death_of_its_host(server: Serving):
    long = {"max_tokens": 48, "extra_body": {"ignore_eos": True}}
    undisturbed = chat(server, QUESTION, image(RED_BLUE), **long)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(chat, server, QUESTION, image(RED_BLUE), **long)
        wait_for(server.running, "the request is with the host")
        server.kill_host(signal.SIGKILL, NAME)
        assert answer.result(60) == undisturbed


def test_an_image_that_kills_its_host_is_blamed_and_its_neighbour_completes(server: Serving):
    def post(picture: str, **fields: Any) -> Any:
        content = [QUESTION, image(picture)]
        asked = {"model": NAME, "temperature": 0, "messages": [{"role": "user", "content": content}]}
        return server.http.post("/v1/chat/completions", json=asked | fields, timeout=LOADS_SECONDS)

    def text(answer: Any) -> str:
        return str(answer.json()["choices"][0]["message"]["content"])

    long = {"max_tokens": 40, "ignore_eos": True}
    undisturbed = text(post(GREEN_YELLOW, **long))
    deadly = data_url("red", "red", note="[[fault:segv@2]]")
    with ThreadPoolExecutor(1) as pool:
        neighbour = pool.submit(post, GREEN_YELLOW, **long)
        wait_for(server.running, "the neighbour is with the host")
        answer = post(deadly)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "engine_crashed")
        assert text(neighbour.result()) == undisturbed
    again = post(deadly)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "request_blamed")
