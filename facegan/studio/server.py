"""The studio's web server: which requests it accepts, and where it listens."""

import asyncio
import functools
import io
import ipaddress
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TextIO

import fastapi
import gradio as gr
import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facegan.studio.api import add_api
from facegan.studio.app import MAX_QUEUED, SECTION_STYLE, build_page
from facegan.studio.components import STATIC
from facegan.studio.generators import Generators
from facegan.studio.photos import MAX_BYTES
from facegan.studio.service import Studio

MAX_CONNECTIONS = 1000
FONTS, MONOSPACE = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]
THEME = gr.themes.Base(primary_hue="indigo", neutral_hue="slate", spacing_size="sm", radius_size="md", font=FONTS, font_mono=MONOSPACE)
# What the page and the API need. Gradio's other routes (a proxy, other files, developer tools) stay closed.
OPEN = re.compile(
    r"/|/api/.*|/config/?|/assets/.*|/static/.*|/svelte/.*|/theme\.css|/favicon\.ico|/manifest\.json"
    r"|/gradio_api/(queue/(join|data)|upload|upload_progress|heartbeat/\w+|startup-events|cancel|reset/?|theme\.css|info|file=.*)"
)


UPLOADS = ("/api/find", "/gradio_api/upload")
STREAMS = re.compile(r"/gradio_api/(queue/data|heartbeat/\w+)")  # open as long as the page is
MAX_BODIES, MAX_BODY_BYTES, MAX_EVENT_BYTES = 16, MAX_BYTES + 2**16, 2**21  # uploads at a time; bytes of an upload, and of other requests
BODY_SECONDS = 60  # until a request has arrived
MAX_LOG_BYTES = 2**20


class Bounds:
    """Middleware that bounds what a client can send. Every refusal is a status code and a sentence.

    It answers 404 to every path that does not match ``OPEN``, 413 to a body that is too large, 408 to one that does not arrive in time, and
    503 to uploads beyond ``MAX_BODIES`` at a time.
    """

    def __init__(self, app: ASGIApp):
        self.app, self.uploads = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or STREAMS.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        upload = scope["method"] == "POST" and scope["path"] in UPLOADS
        limit, size, complete, deadline = MAX_BODY_BYTES if upload else MAX_EVENT_BYTES, 0, False, time.monotonic() + BODY_SECONDS
        refusal: tuple[int, str] | None = None
        if not OPEN.fullmatch(scope["path"]):
            refusal = 404, "no such page"
        elif upload and self.uploads >= MAX_BODIES:
            refusal = 503, f"expected at most {MAX_BODIES} uploads at a time; found the studio busy; try again in a moment"

        async def receive_bounded() -> Message:
            nonlocal size, complete, refusal
            try:
                message = await asyncio.wait_for(receive(), None if complete else max(0, deadline - time.monotonic()))
            except TimeoutError:
                refusal = 408, f"expected the request within {BODY_SECONDS} s; found only a part of it; send it again"
                raise ClientDisconnect from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body")
            if size > limit:
                refusal = 413, f"expected at most {limit:,} bytes; found more; save the photo smaller"
                raise ClientDisconnect
            return message

        async def send_unless_refused(message: Message) -> None:
            if not refusal:
                await send(message)

        self.uploads += upload
        try:
            if not refusal:
                await self.app(scope, receive_bounded, send_unless_refused)
        except ClientDisconnect:
            if not refusal:
                log_client((scope.get("client") or ["unknown"])[0])
        finally:
            self.uploads -= upload
        if refusal:
            await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, send)


@functools.lru_cache(maxsize=1000)
def log_client(host: str) -> None:
    """Logs a client that closes its connection during a request, once."""
    print(f"{host} closed its connection before its request was complete (reported once for each client)", file=sys.stderr, flush=True)


class BoundedLog(io.TextIOBase):
    """A text stream that drops what exceeds ``MAX_LOG_BYTES``, so that requests cannot fill the disk."""

    def __init__(self, stream: TextIO):
        self.stream, self.left = stream, MAX_LOG_BYTES

    def write(self, text: str) -> int:
        if self.left > 0:
            self.stream.write(text if len(text) <= self.left else f"\nthe log has reached {MAX_LOG_BYTES:,} characters and ends here\n")
            self.left -= len(text)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_server(generators: Generators, host: str, temporary: Path) -> fastapi.FastAPI:
    """Returns the studio of a project as a web application.

    Args:
        host: where it will listen. On loopback, requests for another host name are rejected, to prevent DNS rebinding: otherwise another
            website could reach the studio through a domain that it points to this machine.
        temporary: a folder for exports that is deleted with the server.
    """
    studio = Studio(generators, temporary)
    page = build_page(studio)
    page.queue(max_size=MAX_QUEUED, default_concurrency_limit=4)
    app = fastapi.FastAPI(title="facegan studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    add_api(app, studio)
    app.add_middleware(Bounds)
    if is_loopback(host):
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "testserver", host])
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size=MAX_BYTES,
        theme=THEME.set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400"),
        css=(STATIC / "style.css").read_text() + SECTION_STYLE,
        allowed_paths=[],
        blocked_paths=[str(generators.project)],
    )


def serve(generators: Generators, host: str, port: int, greeting: str) -> None:
    """Prints the greeting when the page is ready, and serves until interrupted. Visitors' photos are deleted with the server."""
    with tempfile.TemporaryDirectory(prefix="facegan-studio-") as temporary:
        os.environ["GRADIO_TEMP_DIR"] = f"{temporary}/photos"
        app = build_server(generators, host, Path(temporary))
        print(greeting, flush=True)
        sys.stderr = BoundedLog(sys.stderr)
        uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=2)
