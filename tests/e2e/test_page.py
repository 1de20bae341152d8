"""The page in headless Chromium, with a real server: opt-in, see docs/page.md."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.chaos_trial import settings_file
from tests.e2e.serving import EXACT, Serving, wait_for
from tests.e2e.test_vision import data_url
from tests.models.packages import install_npm
from tests.models.scripted import scripted_model
from tests.models.templates import chat_template

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CHROMIUM = "/usr/bin/chromium"
SECONDS = 60.0
LOAD_SECONDS = 300.0  # for six models at once, on a machine that is busy
SCRIPTED, LONG, EYES, SPARE, HEARS, SPEAKS = "scripted", "long", "eyes", "spare", "whisper-tiny-en", "kokoro"
HOSTILE = (
    "<img src=x onerror=alert(1)> **Bold**, [a](javascript:alert(1)), [b](https://b.example/).\n\n"
    "- `one`\n- two"
)
CALL = {"name": "get_weather", "arguments": {"city": "Paris"}}
TOOL_SCRIPT = f"<think>\nI need the tool.\n</think>\n\nI look.\n<tool_call>\n{json.dumps(CALL)}\n</tool_call>"
SPOKEN = "Good morning. How are you today?"
STORY = "Write a long story about a lighthouse."
TOKENS = 200
# Pastes a file and drops another. Its bytes are not fetched: the page's policy forbids data URLs there.
GIVE_FILE = """encoded => {
    const bytes = Uint8Array.from(atob(encoded), character => character.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], "picture.png", { type: "image/png" }));
    const prompt = document.getElementById("prompt");
    prompt.dispatchEvent(new ClipboardEvent("paste", { clipboardData: dataTransfer, bubbles: true }));
    prompt.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
}"""

Page = Any  # Playwright's; it is not among the development packages
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def server(
    qwen3_ir: Path,
    smollm2_ir: Path,
    vision_ir: Path,
    whisper_ir: Path,
    kokoro_ir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Serving]:
    scripts = {"": HOSTILE, "weather": TOOL_SCRIPT, "sunny": "It is sunny."}
    models = {
        SCRIPTED: scripted_model(scripts, chat_template("qwen3")),
        LONG: smollm2_ir,
        EYES: vision_ir,
        SPARE: qwen3_ir,
        HEARS: whisper_ir,
        SPEAKS: kokoro_ir,
    }
    folder = tmp_path_factory.mktemp("settings")
    settings = folder / "nacelle.toml"
    settings.write_text(settings_file({name: str(path) for name, path in models.items()}))
    environment = {"XDG_DATA_HOME": str(folder)}
    with Serving(["--config", str(settings)], ["--kv-cache-gib", "0.25", *EXACT], environment) as serving:
        for name in models:
            serving.wait_for(f"/ready/{name}", LOAD_SECONDS)
        yield serving


@pytest.fixture(scope="module")
def locked() -> Iterator[Serving]:
    """A server that wants a key."""
    with Serving(
        [str(scripted_model("Hello.", chat_template("qwen3")))],
        ["--name", SCRIPTED],
        {"NACELLE_API_KEY": "a-secret"},
    ) as serving:
        yield serving.wait_until_ready(SCRIPTED)


@pytest.fixture(scope="module")
def browser(server: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its microphone hears `SPOKEN` again and again."""
    from playwright.sync_api import sync_playwright

    speech = server.http.post(
        "/v1/audio/speech", json={"model": SPEAKS, "input": SPOKEN, "response_format": "wav"}, timeout=SECONDS
    )
    recording = tmp_path_factory.mktemp("speech") / "spoken.wav"
    recording.write_bytes(speech.content)
    arguments = [
        "--no-sandbox",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={recording}",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any, server: Serving) -> Iterator[Open]:
    """Opens the page. Whatever it reports to the console or asks of another origin fails the test."""
    troubles: list[str] = []
    contexts = []

    def opened(url: str = server.base_url, allowed: str = "$^", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()

        def console(message: Any) -> None:
            if message.type in ("error", "warning") and not re.search(allowed, message.text):
                troubles.append(message.text)

        page.on("console", console)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("dialog", lambda dialog: troubles.append(f"a dialog: {dialog.message}"))
        page.on(
            "request",
            lambda request: troubles.append(request.url) if is_elsewhere(url, request.url) else None,
        )
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def is_elsewhere(own: str, url: str) -> bool:
    return not url.startswith((f"{own}/", "data:", f"blob:{own}/"))


def live(page: Page) -> Page:
    page.wait_for_selector("#connection[data-state=live]")
    return page


def until(page: Page, expression: str) -> None:
    """Playwright's own way to wait for an expression needs `eval`, which the page's policy forbids."""
    wait_for(lambda: page.evaluate(expression), expression, SECONDS)


def ask(page: Page, model: str, text: str) -> Any:
    """Send a message; returns the answer's element."""
    page.wait_for_selector(f"#model option[value={model}]", state="attached")
    page.select_option("#model", model)
    before = page.locator(".turn.assistant").count()
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")
    return page.locator(".turn.assistant").nth(before)


def finished(answer: Any) -> Any:
    answer.locator("xpath=self::*[not(contains(@class, 'writing'))]").wait_for()
    return answer


def test_an_answer_is_laid_out_and_its_markup_stays_text(show: Open):
    page = live(show())
    answer = finished(ask(page, SCRIPTED, "Hello"))
    text = answer.locator(".text")
    assert "<img src=x onerror=alert(1)> Bold, [a](javascript:alert(1)), b." in text.inner_text()
    assert text.locator("img").count() == 0
    assert text.locator("strong").inner_text() == "Bold"
    assert text.locator("a").get_attribute("href") == "https://b.example/"
    assert text.locator("li code").inner_text() == "one"
    assert "tokens" in answer.locator(".facts").inner_text()
    assert page.locator("#spoken").inner_text()  # for screen readers


def test_a_call_of_a_tool_is_shown_and_its_result_sent(show: Open):
    page = live(show())
    page.click("summary >> text=Settings and tools")
    page.click("#tools-example")
    answer = finished(ask(page, SCRIPTED, "The weather in Paris"))
    assert answer.locator(".reasoning summary").inner_text() == "Reasoning"
    assert not answer.locator(".reasoning").evaluate("element => element.open")
    assert answer.locator(".call .name").inner_text() == "get_weather"
    assert json.loads(answer.locator(".call pre").inner_text()) == CALL["arguments"]
    answer.locator(".call textarea").fill("sunny")
    answer.locator("text=Send results").click()
    second = finished(page.locator(".turn.assistant").nth(1))
    assert second.locator(".text").inner_text() == "It is sunny."


def test_an_image_is_attached_pasted_and_dropped(show: Open):
    page = live(show())
    encoded = data_url("red", "blue").partition(",")[2]
    picture = {"name": "picture.png", "mimeType": "image/png", "buffer": base64.b64decode(encoded)}
    page.set_input_files("#image-file", picture)
    page.evaluate(GIVE_FILE, encoded)
    until(page, "document.querySelectorAll('#attachments img').length === 3")
    for _ in range(2):
        page.locator("#attachments button").first.click()
    be_greedy(page, 32)
    answer = finished(ask(page, EYES, "Which colours?"))
    assert page.locator(".turn.user img").count() == 1
    assert page.locator("#attachments img").count() == 0
    assert {"red", "blue"} <= set(re.findall(r"\w+", answer.locator(".text").inner_text().lower()))


def test_a_model_is_unloaded_and_loaded(show: Open):
    page = live(show())
    row = page.locator(f"#models > li[data-key={SPARE}]")
    for button, state in (("Unload", "unloaded"), ("Load", "ready")):
        row.get_by_role("button", name=f"{button} {SPARE}", exact=True).click()
        row.locator(f".row .state[data-state={state}]").wait_for()


def chats_of(server: Serving) -> list[str]:
    """The ids of the chat completions that are being answered."""
    requests = server.http.get("/admin/requests").json()["requests"]
    return [one["id"] for one in requests if one["route"] == "/v1/chat/completions"]


def be_greedy(page: Page, max_tokens: int) -> None:
    if not page.locator("#max-tokens").is_visible():
        page.click("summary >> text=Settings and tools")
    page.fill("#temperature", "0")
    page.fill("#max-tokens", str(max_tokens))


def long_chat(page: Page) -> Any:
    be_greedy(page, TOKENS)
    answer = ask(page, LONG, STORY)
    until(page, "document.querySelector('.turn.assistant:last-child .text').textContent.length > 50")
    return answer


def test_an_answer_survives_the_kill_button(show: Open, server: Serving):
    page = live(show())
    expected = server.chat(STORY, model=LONG, max_tokens=TOKENS).json()
    answer = long_chat(page)
    page.click("#kill")
    page.wait_for_selector(".happened")
    finished(answer)
    assert "The answer went on after" in page.locator(".happened").inner_text()
    assert answer.locator(".failed").count() == 0
    # As it is kept for the next turn of the conversation: the text that is shown has lost its Markdown.
    page.fill("#max-tokens", "1")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, LONG, "And more?")
    assert sent.value.post_data_json["messages"][1]["content"] == expected["choices"][0]["message"]["content"]
    incident = page.locator("#incidents > li").first
    assert LONG in incident.locator(".name").inner_text()
    incident.locator("summary").click()
    incident.locator("pre:not(:empty)").wait_for()


def test_a_host_is_killed_in_the_list_at_the_second_click(show: Open, server: Serving):
    page = live(show())
    before = server.host_pid(SPARE)
    row = page.locator(f"#models > li[data-key={SPARE}]")
    row.locator("text=Kill").click()
    row.locator("text=Kill it now?").click()
    wait_for(
        lambda: server.readiness(SPARE)["ready"] and server.host_pid(SPARE) != before, "a new host", SECONDS
    )


def test_an_answer_is_stopped_and_a_request_cancelled(show: Open, server: Serving):
    page = live(show())
    answer = long_chat(page)
    page.press("#prompt", "Escape")
    finished(answer)
    assert "stopped" in answer.locator(".facts").last.inner_text()
    wait_for(lambda: not chats_of(server), "the first answer has ended")
    again = long_chat(page)
    (request,) = chats_of(server)  # the list may still show the first one
    page.locator(f"#requests [data-key='{request}'] button[name=cancel]").click()
    finished(again)
    assert again.locator(".failed").count() == 1, again.inner_text()
    wait_for(lambda: server.running() == 0, "nothing runs")


def test_a_wrong_download_is_explained_and_a_list_shows_those_that_fail(show: Open, server: Serving):
    page = live(show(allowed="status of 400"))
    page.fill("#pull-source", "../etc")
    page.click("#pull button")
    page.wait_for_selector("#alerts .alert")
    page.fill("#pull-source", "http://127.0.0.1:9/model.gguf")
    page.click("#pull button")
    page.wait_for_selector("#downloads [data-state=failed]")
    page.click("#downloads button[name=Remove]")
    page.wait_for_selector("#downloads li", state="detached")


def test_what_is_dictated_is_written_and_answers_are_read_aloud(show: Open):
    page = live(show(permissions=["microphone"]))
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]")
    page.wait_for_timeout(4000)  # of speech
    page.click("#record")
    until(page, "document.getElementById('prompt').value")
    assert re.search("good morning|how are you", page.input_value("#prompt"), re.I)
    answer = finished(ask(page, SCRIPTED, "Hello"))
    answer.locator("text=Read aloud").click()
    until(page, "document.querySelector('.turn audio')?.duration > 1")


def test_colours_follow_the_system_and_the_button(show: Open):
    page = live(show(color_scheme="dark"))

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = ground()
    page.emulate_media(color_scheme="light")
    light = ground()
    assert light != dark
    seen = []
    for _ in range(3):
        page.click("#theme")
        seen.append((page.inner_text("#theme"), ground()))
    assert seen == [("Theme: light", light), ("Theme: dark", dark), ("Theme: system", light)]
    page.click("#theme")
    page.click("#theme")
    page.reload()
    assert ground() == dark


def test_a_narrow_window_shows_one_view_at_a_time(show: Open):
    page = live(show(viewport={"width": 360, "height": 640}))
    for view, shown, other in (("chat", "#chat", "#server"), ("server", "#server", "#chat")):
        page.click(f"#view-{view}")
        assert page.locator(shown).is_visible()
        assert not page.locator(other).is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_keyboard_reaches_everything(show: Open):
    page = live(show())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "prompt"
    page.focus("body")
    page.reload()
    live(page)
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {
        "theme",
        "key-open",
        "load",
        "pull-source",
        "model",
        "prompt",
        "attach",
        "record",
        "send",
    } <= reached


def test_a_key_is_asked_for(show: Open, locked: Serving):
    page = show(locked.base_url, allowed="status of 401")
    page.wait_for_selector("#key-dialog[open]")
    assert page.locator("#chat").is_visible()
    page.fill("#key", "wrong")
    page.press("#key", "Enter")
    page.wait_for_selector("#key-dialog[open]")
    page.fill("#key", "a-secret")
    page.press("#key", "Enter")
    live(page)
    finished(ask(page, SCRIPTED, "Hello"))
    assert page.locator(".turn.assistant .text").inner_text() == "Hello."
    page.reload()
    live(page)  # the tab keeps it


def test_axe_finds_nothing(show: Open):
    axe = (install_npm(["axe-core@4.14.1"]) / "node_modules/axe-core/axe.min.js").read_text()
    for scheme in ("light", "dark"):
        page = live(show(color_scheme=scheme))
        page.click("summary >> text=Settings and tools")
        page.click("#tools-example")
        finished(ask(page, SCRIPTED, "weather"))
        page.evaluate(axe)
        found = page.evaluate("axe.run()")
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
