"""What is printed of a streamed answer, and what is read from files."""

import http.server
import io
import socketserver
import ssl
import threading
from collections.abc import Iterator

import pytest

from frontend.cli.address import find_server
from frontend.cli.client import Client, Lost, NoServer, Refused, _event_data, _lines, _tls_problem
from frontend.cli.running.answer import Answer, Piece, Printer, pieces, thoughts_to
from frontend.cli.running.attachments import BadAttachment, read_attachment, read_image


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def chunk(finish=None, **delta):
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


def stream(*chunks):
    yield from chunks


def test_an_answer_is_collected_with_reasoning_usage_and_times():
    times = iter([0.0, 0.5, 2.5])
    answer = Answer()
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    chunks = stream(
        chunk(role="assistant"),
        chunk(reasoning_content="Hm."),
        chunk(content="Yes"),
        chunk(content="!", finish="stop"),
        {"choices": [], "usage": usage},
    )
    found = list(pieces(chunks, answer, lambda: next(times)))
    assert found == [Piece("Hm.", True), Piece("Yes", False), Piece("!", False)]
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Yes!", "Hm.", "stop")
    assert answer.statistics == "3 prompt tokens, 5 tokens, first after 0.50 s, 2.0 tokens/s"


def test_a_stream_that_ends_early_is_an_error_and_what_arrived_is_kept():
    answer = Answer()
    with pytest.raises(Lost):
        list(pieces(stream(chunk(content="Ye")), answer))
    assert answer.text == "Ye"


def test_an_interrupted_answer_hangs_up():
    closed = []

    def chunks():
        try:
            yield chunk(content="a")
            yield chunk(content="b")
        finally:
            closed.append(True)

    arriving = pieces(chunks(), Answer())
    next(arriving)
    arriving.close()
    assert closed == [True]


def shown(out, thoughts, *parts):
    printer = Printer(out, thoughts)
    for text, is_reasoning in parts:
        printer.show(Piece(text, is_reasoning))
    printer.end()
    return out.getvalue()


def test_a_pipe_gets_the_text_alone_and_one_line_end():
    out = io.StringIO()
    assert shown(out, None, ("secret", True), ("\n\n", False), ("a\n", False), ("\nb", False)) == "a\n\nb\n"


def test_a_terminal_gets_dimmed_reasoning_and_no_control_characters(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    text = shown(out, out, ("think\x1b[31m", True), ("a\x1b]0;title\x07b", False))
    assert text == "\x1b[2mthink[31m\x1b[0m\n\na]0;titleb\n"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    assert shown(plain, plain, ("think", True), ("a", False)) == "think\n\na\n"


def test_reasoning_is_shown_where_it_does_not_disturb(capsys):
    pipe, terminal = io.StringIO(), Terminal()
    assert thoughts_to(None, pipe) is None
    assert thoughts_to(True, pipe) is not pipe
    assert thoughts_to(None, terminal) is terminal
    assert thoughts_to(False, terminal) is None


class Blocks:
    def __init__(self, *blocks: bytes) -> None:
        self._blocks = blocks

    def blocks(self) -> Iterator[bytes]:
        yield from self._blocks


def test_events_are_read_however_they_are_cut_and_comments_left_out():
    response = Blocks(b": waiting\n\nda", b'ta: {"a": 1}\r\n\r\ndata:', b" [DONE]\n\n")
    assert list(_event_data(_lines(response))) == [b'{"a": 1}', b"[DONE]"]  # type: ignore[arg-type]


PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def test_files_are_texts_or_images(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffhello\n")
    (tmp_path / "b.dat").write_bytes(PNG)
    assert read_attachment(str(tmp_path / "a.txt")).text == "hello"
    assert read_attachment(str(tmp_path / "b.dat")).image.startswith("data:image/png;base64,iVBOR")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe\x00", "is neither text in UTF-8 nor an image"),
        (b"a\0b", "is neither text in UTF-8 nor an image"),
        (b" \n", "is empty"),
        (None, "cannot read"),
    ],
)
def test_what_cannot_be_attached_names_the_file(tmp_path, content, complaint):
    file = tmp_path / "x"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadAttachment, match=complaint):
        read_attachment(str(file))


def test_an_image_must_be_one(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(BadAttachment, match="is not a PNG, JPEG, GIF, BMP or WebP image"):
        read_image(str(tmp_path / "a.png"))


# --- a server that is no Nacelle --------------------------------------------------------------------------


@pytest.fixture
def foreign():
    """A server of another program; yields its URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/admin/models":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_):
        pass


def client_of(url):
    return Client(find_server(url, None, {}))


def test_a_foreign_server_is_recognized_in_one_line(foreign):
    with pytest.raises(Refused) as refused:
        client_of(foreign).get("/admin/models")
    assert refused.value.format_message() == (
        f"{foreign} answered 404 Not Found, which Nacelle does not; check --url"
    )
    with pytest.raises(Lost, match="is not Nacelle"):
        client_of(foreign).get("/health")


def test_a_port_at_which_nobody_listens_is_no_server():
    with pytest.raises(NoServer, match=r"no server answers at http://127\.0\.0\.1:9; check --url"):
        client_of("http://127.0.0.1:9").get("/health")


@pytest.fixture
def silent():
    """A server that hangs up after the first bytes, as one that speaks HTTPS may do; yields its port."""

    class HangsUp(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(10_000)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_port_that_may_speak_https_is_recognized(silent):
    url = f"127.0.0.1:{silent}"
    with pytest.raises(Lost, match=rf"did not answer: .*; if it speaks HTTPS, use https://{url}"):
        client_of(f"http://{url}").get("/health")
    with pytest.raises(Lost, match=rf"did not answer: .*; if it speaks HTTPS, use https://{url}"):
        next(client_of(f"http://{url}").events("POST", "/x", {}))
    here = find_server(None, None, {"NACELLE_PORT": str(silent)})
    with pytest.raises(Lost, match="; if it speaks HTTPS, set NACELLE_TLS_CERTIFICATE to its certificate"):
        Client(here).get("/health")


def test_https_to_a_port_that_does_not_speak_it_is_recognized(foreign):
    url = foreign.removeprefix("http://")
    with pytest.raises(Lost, match=f"https://{url} does not speak HTTPS; use http://{url}"):
        client_of(f"https://{url}").get("/health")


def test_a_certificate_that_is_not_trusted_is_not_blamed_on_the_address():
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = "self-signed certificate"
    named = find_server("https://a.example", None, {})
    assert _tls_problem(error, named) == (
        "the certificate of https://a.example:443 is not trusted (self-signed certificate); "
        "name the certificate of its authority in SSL_CERT_FILE, and use a host name that it is for"
    )
    assert "; tls_certificate must be the certificate" in _tls_problem(error, named._replace(named=False))
    assert _tls_problem(OSError("no route"), named) == ""
