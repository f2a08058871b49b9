"""Runs scripts in new processes without the three seconds that importing the large libraries takes.

A server imports the libraries once and forks for each script. A client process, started like any other process, stands for the script:
it passes its arguments, environment, folder and output to the fork, forwards SIGINT and SIGTERM, and exits as the script does. If the
client is killed, so is the script. The server imports nothing of facegan; the script imports it from its own copy of the project.

The standard library's forkserver preloads modules as well, but serves only the process that started it. DVC starts the stages itself.

    python tests/warm_python.py SOCKET                        # the server; it exits when its standard input is closed
    python tests/warm_python.py SOCKET SCRIPT ARGUMENTS...    # the client
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
import time
from functools import cache
from pathlib import Path

LIBRARIES = (
    *("torch", "torch._dynamo", "torchvision", "timm", "numpy", "pandas", "scipy.linalg", "safetensors.torch", "matplotlib.figure"),
    *("pydantic", "yaml", "jinja2", "PIL.Image", "pillow_heif", "requests", "bleach", "kagglesdk"),
)


@cache
def start_server() -> str:
    """Starts the server, once per test process. Returns the address of its socket."""
    folder = tempfile.TemporaryDirectory(prefix="warm-python-")
    address = f"{folder.name}/socket"
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # a fork cannot use a pool of threads
    server = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", env=os.environ | one_thread
    )
    if server.stdout.readline() != b"ready\n":
        raise RuntimeError("the server of warm processes did not start")
    atexit.register(folder.cleanup)
    atexit.register(server.communicate)  # closes its standard input
    return address


def start_script(script: Path, arguments: list[str], cwd: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Starts a script; its output is read as text."""
    command = [sys.executable, "-IS", __file__, start_server(), str(script), *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen(command, cwd=cwd, env=environment, **output)


def find_script(client: subprocess.Popen[str]) -> int:
    """Returns the process id of the script that the client stands for."""
    file = Path(start_server()).with_name(str(client.pid))
    while client.poll() is None and not file.is_file():
        time.sleep(0.001)
    return int(file.read_text())


def make_python(folder: Path) -> Path:
    """Writes a program ``python`` into the folder that runs scripts in the server, and everything else itself. Returns the folder."""
    lines = ["#!/bin/sh", 'case "$1" in', f'*.py) exec "{sys.executable}" -IS "{__file__}" "{start_server()}" "$@" ;;', "esac"]
    (folder / "python").write_text("\n".join([*lines, f'exec "{sys.executable}" "$@"', ""]))
    (folder / "python").chmod(0o755)
    return folder


def run_client(address: str, script: str, arguments: list[str]) -> None:
    """Runs the script in the server, and exits as it does."""
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # until the process to forward them to is known
    request = {"script": os.path.abspath(script), "arguments": arguments, "cwd": os.getcwd(), "environment": dict(os.environ)}
    request["client"] = os.getpid()
    content = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    socket.send_fds(connection, [f"{len(content):08d}".encode()], [1, 2])
    connection.sendall(content)
    answers = connection.makefile()
    child = int(answers.readline())
    for number in signals:
        signal.signal(number, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    status = int(answers.readline())
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def serve(address: str) -> None:
    """Forks for each request until standard input is closed. In the fork, runs the script."""
    sys.modules["triton"] = None  # only for GPUs; if frozen, it reports leaks when a process exits
    for name in LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):  # the studio's environment lacks some
            importlib.import_module(name)
    del sys.modules["triton"]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the tests, and they stop the server
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    gc.freeze()  # otherwise each fork would visit, and so copy, all objects when it exits
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return supervise(connection, Path(address).parent)
        connection.close()


def supervise(connection: socket.socket, folder: Path) -> None:
    """Runs the requested script in another fork. Reports its process id and its exit status; kills it if the client dies."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, (out, err), _, _ = socket.recv_fds(connection, 8, 2)
    with connection.makefile("rb") as file:
        request = json.loads(file.read(int(size)))
    child = os.fork()
    if child == 0:
        connection.close()
        return run(request, out, err)
    os.close(out)
    os.close(err)
    (folder / f"{child}.part").write_text(str(child))
    (folder / f"{child}.part").rename(folder / str(request["client"]))
    with contextlib.suppress(OSError):  # the client is dead
        connection.sendall(f"{child}\n".encode())
    end = os.pidfd_open(child)
    if end not in select.select([connection, end], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(f"{status}\n".encode())
    os._exit(0)


def run(request: dict, out: int, err: int) -> None:
    """Runs the script in this process, with the client's output."""
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(source, target)
        os.close(source)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    sys.path[:1] = [str(Path(request["script"]).parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    runpy.run_path(request["script"], run_name="__main__")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run_client(sys.argv[1], sys.argv[2], sys.argv[3:])
    serve(sys.argv[1])
