import contextlib
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from frontend.cli.connection import BadResponse, Connection, NoResponse

HEAD = b"HTTP/1.1 200 OK\r\n"


class Server(socketserver.ThreadingTCPServer):
    """Answers each request with `answer`, in pieces, and hangs up. `asked` is the last request."""

    daemon_threads = True
    answer: tuple[bytes, ...] = ()
    asked = b""


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.server.asked = self.request.recv(65_536)
        for piece in self.server.answer:
            self.request.sendall(piece)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving
        serving.shutdown()


def ask(server: Server, target: str = "/x", content: bytes | None = None) -> tuple[int, str, bytes]:
    connection = Connection("127.0.0.1", server.server_address[1], None, 10)
    try:
        response = connection.ask("POST", target, {"A": "b"}, content, 10)
        return response.status, response.reason, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhello",),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"),
        (HEAD + b"\r\nhe", b"llo"),  # as long as the connection
        (b"HTTP/1.0 200 OK\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD[:9], HEAD[9:] + b"content-length: 5\r\n\r\nhello"),
    ],
)
def test_a_body_ends_as_its_head_says(server: Server, answer: tuple[bytes, ...]) -> None:
    server.answer = answer
    assert ask(server) == (200, "OK", b"hello")


def test_an_empty_answer_is_whole(server: Server) -> None:
    server.answer = (b"HTTP/1.1 204 No Content\r\n\r\n",)
    assert ask(server) == (204, "No Content", b"")


def test_a_request_states_its_host_and_length_and_stays_one_line(server: Server) -> None:
    server.answer = (HEAD + b"Content-Length: 0\r\n\r\n",)
    ask(server, "/a b/\r\nX: y/é?c=d", b"{}")
    head, _, body = server.asked.partition(b"\r\n\r\n")
    assert body == b"{}"
    assert head.split(b"\r\n") == [
        b"POST /a%20b/%0D%0AX:%20y/%C3%A9?c=d HTTP/1.1",
        f"Host: 127.0.0.1:{server.server_address[1]}".encode(),
        b"A: b",
        b"Content-Length: 2",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello\r\njunk",
        HEAD + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 408 Too Late\r\nContent-Length: 1\r\n\r\n!",
        HEAD + b"Transfer-Encoding: identity\r\n\r\nhello",
    ],
)
def test_what_follows_an_answer_is_not_part_of_it(server: Server, answer: bytes) -> None:
    server.answer = (answer,)
    assert ask(server) == (200, "OK", b"hello")


def test_a_header_is_one_line(server: Server) -> None:
    connection = Connection("127.0.0.1", server.server_address[1], None, 10)
    with contextlib.closing(connection), pytest.raises(ValueError, match="control characters"):
        connection.ask("GET", "/", {"Authorization": "Bearer a\r\nX: y"}, None, 10)
    assert server.asked == b""


@pytest.mark.parametrize(
    "answer",
    [
        (),
        (b"HTTP/1.1 200",),
        (b"\x15\x03\x01\x00\x02\x02\x16",),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",),
    ],
)
def test_what_is_no_response(server: Server, answer: tuple[bytes, ...]) -> None:
    server.answer = answer
    with pytest.raises((NoResponse, ConnectionError)):
        ask(server)


@pytest.mark.parametrize(
    "answer",
    [b"Content-Length: 6\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"],
)
def test_a_body_that_is_cut_off_is_not_taken_for_a_whole_one(server: Server, answer: bytes) -> None:
    server.answer = (HEAD + answer,)
    with pytest.raises(BadResponse, match="closed before the end"):
        ask(server)


def test_neither_tls_nor_the_library_of_python_is_imported() -> None:
    """Each takes longer than everything else that an answer needs."""
    code = "import sys, frontend.cli.run; print(*{'ssl', 'http.client', 'email'} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
