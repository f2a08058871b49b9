"""A local server that imitates the Hugging Face hub for its unmodified client, which connects to it through HF_ENDPOINT.

Its headers and messages imitate the hub's; they are not a recording.
"""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40


class FakeHub:
    """One data set, ``owner/faces``, with failures to simulate.

    Attributes:
        files: content by path; those in ``lfs`` are large files, with a SHA-256.
        revisions: those that exist.
        gated: requests without the token are refused as gated; private: as missing.
        refusals: (status, headers) for the next requests of the API.
        cuts: numbers of bytes after which the next transfers are cut.
        wrong: paths whose content is sent changed, with how often.
        requests: method, path, Range and Authorization of all requests, in order.
    """

    def __init__(self, files: dict[str, bytes], license: str | None = "cc0-1.0"):
        self.files, self.license = files, license
        self.lfs = {name for name in files if name.endswith((".parquet", ".zip", ".tar", ".gz"))}
        self.revisions = {"main", "v1", COMMIT}
        self.gated = self.private = False
        self.token = "hf_secret"
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.cuts: list[int] = []
        self.wrong: dict[str, int] = {}
        self.requests: list[tuple[str, str, str | None, str | None]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # cut connections
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Shuts the server down."""
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: str) -> dict[str, str]:
        """Returns the environment variables that connect the client to this server, with an empty cache and no token."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {"HF_ENDPOINT": address, "HF_HOME": home, "HF_TOKEN": "", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*", "no_proxy": "*"}

    def ranges(self) -> list[str]:
        """Returns the requested ranges."""
        return [part for *_, part, _ in self.requests if part]

    def describe(self, name: str) -> dict:
        """Returns the hub's description of a file."""
        content = self.files[name]
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
        if name in self.lfs:
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry


class Handler(BaseHTTPRequestHandler):
    """Handles the client's requests."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        """Suppresses the log."""

    def send_all(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
        names = {"X-Error-Code": code} if code else {}
        self.send_all(status, json.dumps({"error": code}).encode(), {"X-Error-Message": code, **names, **(headers or {})})

    def answer(self) -> None:
        """Answers a request."""
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((self.command, path, self.headers.get("Range"), self.headers.get("Authorization")))
        if not path.startswith(("/api/datasets/owner/faces", "/datasets/owner/faces/")):
            self.refuse(401, "RepoNotFound")
        elif hub.refusals:
            status, headers = hub.refusals.pop(0)
            self.refuse(status, "", headers)
        elif self.headers.get("Authorization") != f"Bearer {hub.token}" and (hub.gated or hub.private):
            self.refuse(401, "GatedRepo" if hub.gated else "RepoNotFound")
        elif path.startswith("/api/"):
            self.answer_api(path.removeprefix("/api/datasets/owner/faces").strip("/").split("/"))
        else:
            self.send_file(path.removeprefix("/datasets/owner/faces/").split("/", 2)[2])

    do_GET = do_HEAD = answer

    def answer_api(self, parts: list[str]) -> None:
        """Answers with the facts of the data set, or its files."""
        hub = self.hub
        if len(parts) > 1 and parts[1] not in hub.revisions:
            self.refuse(404, "RevisionNotFound")
        elif parts[0] == "tree":
            self.send_all(200, json.dumps([hub.describe(name) for name in hub.files]).encode(), {"Content-Type": "application/json"})
        else:
            info = {"id": "owner/faces", "sha": COMMIT, "siblings": [{"rfilename": name} for name in hub.files], "tags": []}
            info |= {"cardData": {"license": hub.license} if hub.license else None, "private": hub.private, "gated": hub.gated}
            self.send_all(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def send_file(self, name: str) -> None:
        """Sends a file, or the rest of it, with the next failure."""
        hub, content = self.hub, self.hub.files[name]
        entry = hub.describe(name)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if "lfs" in entry:
            headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        if self.command == "GET" and hub.wrong.get(name):
            hub.wrong[name] -= 1
            content = bytes(len(content))
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers |= {"Content-Length": str(len(content) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and hub.cuts:
            self.send_all(206 if start else 200, content[start:][: hub.cuts.pop(0)], headers)
            self.close_connection = True
        else:
            self.send_all(206 if start else 200, content[start:], headers)
