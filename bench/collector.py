"""A collector of OpenTelemetry traces that only counts: `python -m bench.collector --port PORT`.

It takes OTLP over HTTP. GET /health answers 200; GET /exports answers how many exports there were.
"""

import http.server

import click


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    exports = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _Handler.exports += 1
        self._answer(b"")  # an empty ExportTraceServiceResponse

    def do_GET(self) -> None:
        self._answer(str(_Handler.exports).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the server's output is kept only for errors."""


@click.command()
@click.option("--port", type=int, required=True)
def main(port: int) -> None:
    """Serve on 127.0.0.1."""
    http.server.ThreadingHTTPServer(("127.0.0.1", port), _Handler).serve_forever()


if __name__ == "__main__":
    main()
