"""Real web servers of this machine: one of files, with faults on demand, and one that speaks like a hub."""

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40


class FileServer:
    """Serves `files` (path → content) with Range, If-Range and ETag. Faults are attributes."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes] = dict(files or {})
        self.headers: dict[str, str] = {}  # of each answer, too
        self.drop_every = 0  # that answer breaks in the middle of its body
        self.ignores_range = False
        self.pace: Callable[[], None] | None = None  # called before each piece of a body but the first
        self.piece = 1 << 30
        self.statuses: list[tuple[int, dict[str, str]]] = []  # of the next answers
        self.seen: list[tuple[str, str, dict[str, str]]] = []  # method, path, headers
        self.bodies = 0
        self.sent = 0  # bytes of bodies
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self, with_body=True)

            def do_HEAD(self) -> None:
                owner.answer(self, with_body=False)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Clients that are killed are what this is for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(handler.path).path)
        self.seen.append((handler.command, path, dict(handler.headers.items())))
        if self.statuses:
            status, headers = self.statuses.pop(0)
            self.reply(handler, status, headers)
        elif path in self.files:
            self.send_file(handler, self.files[path], with_body=with_body)
        else:
            self.reply(handler, 404, {})

    def reply(
        self, handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes = b""
    ) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def send_file(self, handler: BaseHTTPRequestHandler, content: bytes, *, with_body: bool) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        asked = handler.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        if self.ignores_range or handler.headers.get("If-Range", etag) != etag:
            start = 0
        if asked and start >= len(content):
            self.reply(handler, 416, {"Content-Range": f"bytes */{len(content)}"})
            return
        is_cut = with_body and self._count_body()
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(content) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if with_body:
            self._send_body(handler, content[start:], is_cut)

    def _count_body(self) -> bool:
        """Count one more, before a client that needs only the head can leave. Returns whether it is cut."""
        with self._lock:
            self.bodies += 1
            return bool(self.drop_every) and self.bodies % self.drop_every == 0

    def _send_body(self, handler: BaseHTTPRequestHandler, body: bytes, is_cut: bool) -> None:
        end = len(body) // 2 if is_cut else len(body)
        for at in range(0, end, self.piece):
            if self.pace and at:
                self.pace()
            handler.wfile.write(body[at : min(at + self.piece, end)])
            self.sent += min(at + self.piece, end) - at
        if is_cut:
            handler.wfile.flush()
            handler.close_connection = True


class HubServer(FileServer):
    """Answers what huggingface_hub and our transfers ask of a model hub, for the repositories it was given.

    Files from `lfs_from` bytes on are stored like those of Git LFS: with a SHA-256, and behind a redirect.
    """

    def __init__(self, lfs_from: int = 1000) -> None:
        super().__init__()
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.gated: set[str] = set()
        self.token = ""  # that gated repositories want
        self.lfs_from = lfs_from
        self.licence = "apache-2.0"
        self.gguf_architecture = ""

    def environment(self, folder: Path) -> dict[str, str]:
        """Of a server whose hub this is and whose store is in `folder`."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "0",  # engines of tests are kept offline
            "TRANSFORMERS_OFFLINE": "0",
            "no_proxy": "127.0.0.1,localhost",
            "NACELLE_STORE": str(folder / "store"),
        }

    def add(self, repository: str, files: Mapping[str, bytes], commit: str = COMMIT) -> None:
        self.repositories[repository] = dict(files)
        self.commits[repository] = commit

    def answer(self, handler: BaseHTTPRequestHandler, *, with_body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(handler.path).path)
        parts = path.strip("/").split("/")
        if path.startswith("/api/models/"):
            self._note(handler, path)
            if self.statuses:
                self.reply(handler, *self.statuses.pop(0))
                return
            self._describe(handler, "/".join(parts[2:4]), "/".join(parts[5:]) or "main")
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._note(handler, path)
            self._resolve(handler, "/".join(parts[:2]), "/".join(parts[4:]), with_body=with_body)
        else:
            super().answer(handler, with_body=with_body)

    def _note(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        self.seen.append((handler.command, path, dict(handler.headers.items())))

    def _refused(self, handler: BaseHTTPRequestHandler, repository: str) -> bool:
        if repository not in self.repositories:
            self.reply(handler, 401, {"X-Error-Code": "RepoNotFound"})
        elif repository in self.gated and handler.headers.get("Authorization") != f"Bearer {self.token}":
            self.reply(handler, 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        else:
            return False
        return True

    def _describe(self, handler: BaseHTTPRequestHandler, repository: str, revision: str) -> None:
        if self._refused(handler, repository):
            return
        commit = self.commits[repository]
        if revision not in ("main", commit):
            self.reply(handler, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        siblings: list[dict[str, Any]] = []
        for name, content in self.repositories[repository].items():
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
            if len(content) >= self.lfs_from:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 130}
            siblings.append(sibling)
        body: dict[str, Any] = {
            "id": repository,
            "modelId": repository,
            "sha": commit,
            "tags": [],
            "siblings": siblings,
            "cardData": {"license": self.licence},
        }
        if self.gguf_architecture:
            body["gguf"] = {"architecture": self.gguf_architecture, "total": 1}
        self.reply(handler, 200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _resolve(
        self, handler: BaseHTTPRequestHandler, repository: str, name: str, *, with_body: bool
    ) -> None:
        if self._refused(handler, repository):
            return
        content = self.repositories[repository].get(name)
        if content is None:
            self.reply(handler, 404, {"X-Error-Code": "EntryNotFound"})
        elif len(content) >= self.lfs_from:  # on another host, as far as credentials are concerned
            digest = hashlib.sha256(content).hexdigest()
            self.files[f"/cdn/{digest}"] = content
            place = f"http://localhost:{self.port}/cdn/{digest}"
            self.reply(handler, 302, {"Location": place, "X-Repo-Commit": self.commits[repository]})
        else:
            self.send_file(handler, content, with_body=with_body)
