"""A real browser for the tests of pages, and the studio as a process of its own. Skipped, and told, where something is missing."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import ROOT, environment

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOW = "run: make test-studio, or pip install -r requirements-studio.txt pytest playwright in an environment of its own"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]  # the browser itself asks nobody anything


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason=f"tests of pages need playwright; {HOW}")
    if not CHROMIUM:
        pytest.skip("tests of pages need Chromium: apt-get install chromium, or another package of your system's")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


class Visitor:
    """A page in a browser of its own, that notes every request beyond its host and every error in its console.

    Attributes:
        page: Playwright's page.
        outside: addresses asked beyond the host.
        errors: what went wrong in the page.
    """

    def __init__(self, browser, address: str, width: int = 1280, height: int = 900, **options):
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.context.set_default_timeout(120_000)
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on(
            "request", lambda request: self.outside.append(request.url) if not request.url.startswith((address, "data:", "blob:")) else None
        )
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))


@contextlib.contextmanager
def visit(browser, address: str, path: str = "/", **options) -> Iterator[Visitor]:
    """Opens a page, and afterwards asserts that it asked nobody else and that nothing went wrong in it."""
    visitor = Visitor(browser, address, **options)
    try:
        visitor.page.goto(address + path)
        yield visitor
        assert visitor.outside == [], visitor.outside
        assert visitor.errors == [], visitor.errors
    finally:
        visitor.context.close()


@contextlib.contextmanager
def serve(project: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs the studio for a project; gives its address and its process."""
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
        wait_until_answers(address, process, log)
        yield address, process
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(60)


def wait_until_answers(address: str, process: subprocess.Popen, log: Path) -> None:
    """Waits for the server's first answer. Raises AssertionError with what it printed when it ends instead."""
    for _ in range(2400):
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api/generators", timeout=30).close()
            return
        time.sleep(0.1)
    raise AssertionError(f"no answer from {address}: {log.read_text()}")
