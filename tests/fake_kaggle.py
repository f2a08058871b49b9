"""A local server that imitates Kaggle for Kaggle's unmodified client.

The client is configured to connect to http://localhost through a proxy, and this server is the proxy, on any free port. Its headers and
messages imitate Kaggle's; they are not a recording.
"""

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

LAST_MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"


@dataclasses.dataclass(frozen=True)
class Request:
    """A request of the client."""

    name: str  # API method, or "transfer"
    authorization: str | None
    range: str | None
    content: dict


class FakeKaggle:
    """One data set, with failures to simulate.

    Attributes:
        content, version: the archive, and its ETag.
        next_content: replaces the archive after a transfer was cut.
        refusals: (status, headers) for the next requests for the data set.
        cuts: numbers of bytes after which the next transfers are cut.
        stall_after: number of bytes after which the next transfer stops until `resume` is set.
        requests: all requests, in order.
    """

    def __init__(self, content: bytes):
        self.content, self.version = content, '"1"'
        self.next_content: bytes | None = None
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.cuts: list[int] = []
        self.stall_after: int | None = None
        self.resume = threading.Event()
        self.requests: list[Request] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"fake": self}))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # killed clients break connections
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Shuts the server down. Further connections are refused."""
        self.resume.set()
        self.server.shutdown()
        self.server.server_close()

    def environment(self) -> dict[str, str]:
        """Returns the environment variables that connect the client to this server."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "HTTP_PROXY": address, "http_proxy": address, "NO_PROXY": "", "no_proxy": ""}

    def count(self, name: str) -> int:
        """Returns the number of requests for an API method, or of transfers."""
        return sum(request.name == name for request in self.requests)

    def ranges(self) -> list[str]:
        """Returns the requested ranges."""
        return [request.range for request in self.requests if request.range]


class Handler(BaseHTTPRequestHandler):
    """Handles the client's requests."""

    protocol_version = "HTTP/1.1"
    fake: FakeKaggle

    def log_message(self, *_: object) -> None:
        """Suppresses the log."""

    def note(self, name: str) -> None:
        content = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        self.fake.requests.append(Request(name, self.headers.get("Authorization"), self.headers.get("Range"), content))

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, status: int, content: dict, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def do_POST(self) -> None:
        """An API method."""
        name = urlsplit(self.path).path.rsplit("/", 1)[-1]
        self.note(name)
        if name == "IntrospectToken":
            self.answer_json(200, {"active": True, "username": "painter"})
        elif name == "GetDatasetMetadata":
            self.answer_json(200, {"info": {"licenses": [{"name": "CC0-1.0"}]}})
        elif name == "DownloadDataset" and self.fake.refusals:
            status, headers = self.fake.refusals.pop(0)
            self.answer_json(status, {"code": status, "message": f"refused with {status}"}, headers)
        elif name == "DownloadDataset":
            self.answer(302, b"", {"Location": "http://localhost/storage/archive.zip"})
        else:
            self.answer_json(404, {"code": 404, "message": "no such method"})

    def do_GET(self) -> None:
        """The transfer of the archive, or of the rest of it."""
        fake = self.fake
        self.note("transfer")
        start, content = 0, fake.content
        if self.headers.get("Range") and self.headers.get("If-Range", fake.version) == fake.version:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", fake.version)
        self.send_header("Last-Modified", LAST_MODIFIED)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.send_body(content[start:])

    def send_body(self, body: bytes) -> None:
        """Sends the archive, with the next failure."""
        fake = self.fake
        if fake.cuts:
            self.wfile.write(body[: fake.cuts.pop(0)])
            self.close_connection = True
            if fake.next_content is not None:
                fake.content, fake.version = fake.next_content, '"2"'
            return
        if fake.stall_after is not None:
            sent, fake.stall_after = fake.stall_after, None
            self.wfile.write(body[:sent])
            fake.resume.wait()
            body = body[sent:]
        self.wfile.write(body)
