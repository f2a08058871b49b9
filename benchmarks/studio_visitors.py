"""Measures the studio with many concurrent visitors, who open the page and repeatedly request new faces as the page's script does.

    python benchmarks/studio_visitors.py --visitors 50 --seconds 120

Prints the number of answers, errors, the response times, and the server's memory before, during and after the test.
"""

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HOME), str(HOME / "tests")]

from browsers import serve  # noqa: E402
from projects import ROOT  # noqa: E402

MEMORY_SAMPLES = 6
PAUSE_SECONDS = (3.0, 7.0)  # between an answer and the next request


def main() -> None:
    """Starts a studio and the visitors, and prints the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), "--model", str(ROOT / "pretrained" / "avatars.safetensors")) as (address, process),
    ):
        number = find_wall(json.loads(fetch(f"{address}/config")))
        request_faces(address, number, "first")  # warm-up
        memory, used = [read_memory(process.pid)], read_processor(process.pid)
        times: list[float] = []
        errors: list[str] = []
        end = time.monotonic() + arguments.seconds
        threads = [
            threading.Thread(target=visit, args=(address, number, f"visitor{index}", end, times, errors))
            for index in range(arguments.visitors)
        ]
        for thread in threads:
            thread.start()
        for _ in range(MEMORY_SAMPLES):
            time.sleep(arguments.seconds / MEMORY_SAMPLES)
            memory.append(read_memory(process.pid))
        for thread in threads:
            thread.join()
        used = read_processor(process.pid) - used
        p95 = sorted(times)[math.ceil(0.95 * len(times)) - 1]
        print(f"{arguments.visitors} visitors: {len(times)} walls of 64 faces, {len(errors)} errors {errors[:3]}")
        print(f"seconds per answer: median {statistics.median(times):.2f}, p95 {p95:.2f}, max {max(times):.2f}")
        print(f"server: {used / len(times):.3f} CPU seconds per answer; memory in MB: {memory}, at the end {read_memory(process.pid)}")


def visit(address: str, number: int, session: str, end: float, times: list[float], errors: list[str]) -> None:
    """Opens the page and requests new faces until the end."""
    try:
        fetch(address)
        while time.monotonic() < end:
            start = time.monotonic()
            request_faces(address, number, session)
            times.append(time.monotonic() - start)
            time.sleep(random.uniform(*PAUSE_SECONDS))
    except (OSError, ValueError) as error:
        errors.append(f"{session}: {error!r}")


def find_wall(config: dict[str, Any]) -> int:
    """Returns the number of the event function that draws the wall."""
    (wall,) = [part["id"] for part in config["components"] if part["props"].get("elem_id") == "wall"]
    (found,) = [part["id"] for part in config["dependencies"] if wall in part["outputs"] and part["backend_fn"]]
    return found


def request_faces(address: str, number: int, session: str) -> None:
    """Requests the 64 faces of a new seed. Raises ValueError if the answer does not contain them."""
    values = [None, "given", random.randrange(100_000), 64, 1.0, []]
    body = {"data": values, "fn_index": number, "session_hash": session, "event_data": None, "trigger_id": None}
    fetch(f"{address}/gradio_api/queue/join?", json.dumps(body).encode())
    drawn = False
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=300) as events:
        for line in events:
            drawn = drawn or b"base64" in line
            if b'"process_completed"' in line:
                if b'"success":true' not in line or not drawn:
                    raise ValueError(line[:200])
                return
    raise ValueError("no answer")


def fetch(url: str, data: bytes | None = None) -> bytes:
    """Returns the answer's body."""
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=300) as answer:
        return answer.read()


def read_memory(process: int) -> int:
    """Returns the resident memory of a process in MB."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def read_processor(process: int) -> float:
    """Returns the processor time that a process has used, in seconds."""
    parts = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / 100


if __name__ == "__main__":
    main()
