"""The studio as users meet it: its own process, a project folder, and a real browser. Skipped, and told, where one of them is missing."""

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

from facegan.models.generator_file import save_generator

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Nothing but the page itself: no update checks, no first-run requests of the browser's own.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextlib.contextmanager
def serve(project: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs the studio for a project; gives its address and its process."""
    pytest.importorskip("gradio", reason="the studio's page needs requirements-studio.txt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "facegan.studio", "--project", str(project), "--port", str(port), *arguments]
    log = project.parent / f"studio-{port}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)), stdout=output, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise AssertionError(log.read_text())
            try:
                urllib.request.urlopen(f"{address}/api/generators", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_generator(path: Path, seed: int = 0, name: str = "dcgan", resolution: int = 32, **arguments: object) -> None:
    """Writes an untrained generator: small, quick, and its faces all differ."""
    from generators import build

    network, card = build(name, resolution, seed, **arguments)
    save_generator(path, network, card)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright: pip install -r requirements-studio.txt")
    if not CHROMIUM:
        pytest.skip("the page's tests need Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()
