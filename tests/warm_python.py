"""Scripts run in processes of their own, without waiting for PyTorch's import each time.

Importing the large libraries takes a stage three seconds, and the tests run hundreds of stages. So a server imports them once and
forks for every script. What runs in the fork is what ``python script arguments`` runs: the script's own folder on the path, its
environment and working folder, and facegan's code from wherever the script finds it, since the server imports none of it. It may be
killed as any other process.

    python tests/warm_python.py SOCKET                        # the server; it ends with its standard input
    python tests/warm_python.py SOCKET SCRIPT ARGUMENTS...    # what DVC calls python, where a test wants it so
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

LARGE = (
    *("torch", "torch._dynamo", "torchvision", "timm", "numpy", "pandas", "scipy.linalg", "safetensors.torch", "matplotlib.figure"),
    *("pydantic", "yaml", "jinja2", "PIL.Image", "pillow_heif", "requests", "bleach", "kagglesdk"),
)


class WarmProcess:
    """A script that runs, with as much of ``subprocess.Popen`` as the tests use; its output is read as text."""

    def __init__(self, script: Path, arguments: list[str], cwd: Path, environment: dict[str, str]):
        self.args = [sys.executable, str(script), *arguments]
        self.returncode: int | None = None
        pipes = [os.pipe(), os.pipe()]
        order = {"script": str(script), "arguments": arguments, "cwd": str(cwd), "environment": environment}
        self.connection = send_order(start_server(), order, [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self.stdout, self.stderr = (os.fdopen(read, encoding="utf-8") for read, _ in pipes)
        self.answers = self.connection.makefile()
        self.pid = int(self.answers.readline())

    def poll(self) -> int | None:
        """Returns the exit status, negative for a signal, or None while it runs."""
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            self.returncode = int(self.answers.readline())
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end of the process and of all that hold its output open, and returns stdout and stderr."""
        outputs: dict[str, str] = {}
        readers = [threading.Thread(target=self._read, args=(name, outputs), daemon=True) for name in ("stdout", "stderr")]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
        if len(outputs) < 2 or not select.select([self.connection], [], [], timeout)[0]:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout)
        self.poll()
        return outputs["stdout"], outputs["stderr"]

    def _read(self, name: str, outputs: dict[str, str]) -> None:
        with getattr(self, name) as file:
            outputs[name] = file.read()


@cache
def start_server() -> str:
    """Starts the server of this process, and returns its socket's address."""
    folder = tempfile.TemporaryDirectory(prefix="warm-python-")
    address = f"{folder.name}/socket"
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # a fork may not have a pool of them
    server = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", env=os.environ | one_thread
    )
    if server.stdout.readline() != b"ready\n":
        raise RuntimeError("the server of warm processes did not start")
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)  # closes its input
    return address


def make_python(folder: Path) -> Path:
    """Writes a program ``python`` into the folder that runs scripts by the server, and everything else itself. Returns the folder."""
    lines = ["#!/bin/sh", 'case "$1" in', f'*.py) exec "{sys.executable}" -IS "{__file__}" "{start_server()}" "$@" ;;', "esac"]
    (folder / "python").write_text("\n".join([*lines, f'exec "{sys.executable}" "$@"', ""]))
    (folder / "python").chmod(0o755)
    return folder


def send_order(address: str, order: dict[str, Any], outputs: list[int]) -> socket.socket:
    """Sends the server a script to run, and the two files that are to be its stdout and stderr. Returns the connection: the server writes
    the process's id there, and its exit status when it has ended."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    content = json.dumps(order).encode()
    socket.send_fds(connection, [f"{len(content):08d}".encode()], outputs)
    connection.sendall(content)
    return connection


def stand_in(address: str, script: str, arguments: list[str]) -> None:
    """Has the server run the script in this process's place, and ends as it ends; passes on what asks it to stop."""
    stops = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)  # until it is known whom to pass them on to
    order = {"script": os.path.abspath(script), "arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}
    answers = send_order(address, order, [1, 2]).makefile()
    child = int(answers.readline())
    for number in stops:
        signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stops)
    status = int(answers.readline())
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no other
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def serve(address: str) -> dict[str, Any] | None:
    """Forks for every order that comes, until standard input ends. Returns the order in the process that is to run it."""
    sys.modules["triton"] = None  # GPUs' alone; when frozen, it complains of leaks at a process's end
    for name in LARGE:
        with contextlib.suppress(ModuleNotFoundError):  # the studio's environment lacks some
            importlib.import_module(name)
    del sys.modules["triton"]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and their end is the server's
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks that wait for scripts
    gc.freeze()  # or each fork would go through, and so copy, all that was imported when it ends
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return watch(connection)
        connection.close()
    return None


def watch(connection: socket.socket) -> dict[str, Any]:
    """Reads the order and returns it in one more fork; tells that one's process id, and at its end its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, (out, err), _, _ = socket.recv_fds(connection, 8, 2)
    with connection.makefile("rb") as file:
        order = json.loads(file.read(int(size)))
    child = os.fork()
    if child == 0:
        connection.close()
        for given, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(given, standard)
            os.close(given)
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        return order
    os.close(out)
    os.close(err)
    with contextlib.suppress(BrokenPipeError):  # the test is gone
        connection.sendall(f"{child}\n".encode())
        connection.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    os._exit(0)


def become(order: dict[str, Any]) -> None:
    """Runs the script as this process, which ends as the script does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv[1:] = order["arguments"]
    sys.path[:1] = [str(Path(order["script"]).parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    runpy.run_path(order["script"], run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        stand_in(sys.argv[1], sys.argv[2], sys.argv[3:])
    taken = serve(sys.argv[1])
    if taken:
        become(taken)
