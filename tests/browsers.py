"""A real browser for tests of pages, and the studio as a separate process. Tests that need a missing package are skipped."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import ROOT, environment

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOW = "run: make test-studio, or pip install -r requirements-dev.txt -c constraints.txt"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]  # no requests of the browser's own


@pytest.fixture(scope="session")
def browser() -> "Iterator[Any]":
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason=f"tests of pages need playwright; {HOW}")
    if not CHROMIUM:
        pytest.skip("tests of pages need Chromium: apt-get install chromium, or your system's package")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


class Visitor:
    """A page in a new browser context, which records requests to other hosts and errors of its pages.

    Attributes:
        page: Playwright's page.
        outside: the addresses requested from other hosts.
        errors: the errors of the pages and their consoles.
    """

    def __init__(self, browser: Any, address: str, width: int = 1280, height: int = 900, **options: Any):
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.context.set_default_timeout(120_000)
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        own = (address, "data:", "blob:")
        self.context.on("request", lambda request: None if request.url.startswith(own) else self.outside.append(request.url))
        self.context.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))


@contextlib.contextmanager
def visit(browser: Any, address: str, path: str = "/", **options: Any) -> Iterator[Visitor]:
    """Opens a page, and asserts at the end that it made no request to another host and had no error."""
    visitor = Visitor(browser, address, **options)
    try:
        visitor.page.goto(address + path)
        yield visitor
        assert not visitor.outside + visitor.errors, (visitor.outside + visitor.errors)[:5]
    finally:
        visitor.context.close()


@contextlib.contextmanager
def serve(project: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Runs the studio for a project; yields its address and its process."""
    pytest.importorskip("gradio", reason=f"the studio needs its packages; {HOW}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "facegan.studio", "--project", str(project), "--port", str(port), *arguments]
    log = project / "studio.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(address, process, log)
        yield address, process
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(60)


def wait_for_server(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for the server's first answer. Raises AssertionError with its output if it exits or does not answer."""
    for _ in range(2400):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api/generators", timeout=30).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"no answer from {address}: {log.read_text()}")
