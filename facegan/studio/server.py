"""The studio's web server: which requests it accepts, and where it listens."""

import ipaddress
import os
import re
import tempfile
from pathlib import Path

import fastapi
import gradio as gr
import uvicorn
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

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


class OpenPaths:
    """Middleware that answers 404 to every path that does not match ``OPEN``."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not OPEN.fullmatch(scope["path"]):
            await JSONResponse({"error": "no such page"}, 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


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
    app.add_middleware(OpenPaths)
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
        uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=2)
