"""The studio's web server: what it lets through, and where it listens."""

import ipaddress
import os
import re
import tempfile
from pathlib import Path

import fastapi
import gradio as gr
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from facegan.studio.api import add_interface
from facegan.studio.app import MOST_QUEUED, SECTION_STYLE, build_page
from facegan.studio.components import STATIC
from facegan.studio.service import Studio

MOST_CONNECTIONS = 1000
MOST_UPLOAD_BYTES = 20 * 2**20
SYSTEM_FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
# What the page and the interface need. Whatever else Gradio answers (a proxy, other files, its developers' tools) stays closed.
OPEN = re.compile(
    r"/|/api/.*|/config/?|/assets/.*|/static/.*|/svelte/.*|/theme\.css|/favicon\.ico|/manifest\.json"
    r"|/gradio_api/(queue/(join|data)|upload|upload_progress|heartbeat/\w+|startup-events|cancel|reset/?|theme\.css|info|file=.*)"
)


class OpenPaths:
    """Answers 404 to every path that is not in ``OPEN``."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not OPEN.fullmatch(scope["path"]):
            await JSONResponse({"error": "no such page"}, 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_server(project: Path, given: Path | None, host: str, temporary: Path) -> fastapi.FastAPI:
    """Returns the studio of a project as a web application.

    Args:
        given: a generator to show first.
        temporary: a folder that goes with the server, for visitors' photos and exports.
        host: where it will listen. On loopback, requests that name another host are refused: a page elsewhere could else reach the
            studio through a name of its own that it points here.
    """
    studio = Studio(project, given, temporary)
    page = build_page(studio)
    page.queue(max_size=MOST_QUEUED, default_concurrency_limit=4)
    app = fastapi.FastAPI(title="facegan studio", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    add_interface(app, studio)
    app.add_middleware(OpenPaths)
    if is_loopback(host):
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "[::1]", "testserver", host])
    style = (STATIC / "style.css").read_text() + SECTION_STYLE
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
        max_file_size=MOST_UPLOAD_BYTES,
        theme=make_theme(),
        css=style,
        allowed_paths=[],
        blocked_paths=[str(project)],
    )


def make_theme() -> gr.themes.Base:
    """Returns the page's look: the system's own fonts, quiet labels, little space lost."""
    theme = gr.themes.Base(primary_hue="indigo", neutral_hue="slate", spacing_size="sm", radius_size="md", **SYSTEM_FONTS)
    return theme.set(
        block_border_width="0px",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_padding="0px",
        block_title_text_size="0.85rem",
        block_title_text_weight="500",
        block_title_text_color="*body_text_color",
        block_shadow="none",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        layout_gap="12px",
        form_gap_width="12px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_500",
        button_primary_text_color="white",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        slider_color="*primary_500",
    )


def serve(project: Path, given: Path | None, host: str, port: int, greeting: str) -> None:
    """Prints the greeting as soon as the page is there, and serves until it is interrupted.

    Photos that visitors drop lie in a folder of its own, which goes with the server.
    """
    import uvicorn

    with tempfile.TemporaryDirectory(prefix="facegan-studio-") as temporary:
        os.environ["GRADIO_TEMP_DIR"] = f"{temporary}/photos"
        app = build_server(project, given, host, Path(temporary))
        print(greeting, flush=True)
        uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=2)
