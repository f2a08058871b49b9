"""Many visitors at the studio at once: each opens the page, then asks for new faces again and again, as the page's own script does.

    .venv-studio/bin/python benchmarks/studio_visitors.py --visitors 50 --seconds 120

Tells how many answers came, which went wrong, how long they took, and how much memory the server held before, all along and after.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HOME), str(HOME / "tests")]

from browsers import serve  # noqa: E402
from projects import ROOT  # noqa: E402

MEMORY_LOOKS = 6
THINKING = (3.0, 7.0)  # seconds between an answer and the next question


def main() -> None:
    """Starts a studio, lets the visitors in, and tells how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), "--model", str(ROOT / "pretrained" / "avatars.safetensors")) as (address, process),
    ):
        number = find_new_seed(json.loads(fetch(f"{address}/config")))
        ask_for_faces(address, number, "first")  # what every server does once
        memory, used = [read_memory(process.pid)], read_processor(process.pid)
        times: list[float] = []
        wrong: list[str] = []
        end = time.monotonic() + arguments.seconds
        threads = [
            threading.Thread(target=visit, args=(address, number, f"visitor{index}", end, times, wrong))
            for index in range(arguments.visitors)
        ]
        for thread in threads:
            thread.start()
        for _ in range(MEMORY_LOOKS):
            time.sleep(arguments.seconds / MEMORY_LOOKS)
            memory.append(read_memory(process.pid))
        for thread in threads:
            thread.join()
        used = read_processor(process.pid) - used
        print(f"{arguments.visitors} visitors: {len(times)} walls of 64 faces, {len(wrong)} went wrong {wrong[:3]}")
        print(
            f"seconds until an answer: median {statistics.median(times):.2f}, p95 {statistics.quantiles(times, n=20)[-1]:.2f}, most {max(times):.2f}"
        )
        print(
            f"server: {used / len(times):.3f} CPU seconds an answer; memory in MB: {', '.join(map(str, memory))}, after all {read_memory(process.pid)}"
        )


def visit(address: str, number: int, session: str, end: float, times: list[float], wrong: list[str]) -> None:
    """Opens the page and asks for new faces until the end."""
    try:
        fetch(address)
        while time.monotonic() < end:
            began = time.monotonic()
            ask_for_faces(address, number, session)
            times.append(time.monotonic() - began)
            time.sleep(random.uniform(*THINKING))
    except (OSError, ValueError) as error:
        wrong.append(f"{session}: {error!r}")


def find_new_seed(config: dict) -> int:
    """Returns the number of the function behind the button "New seed"."""
    (button,) = [part["id"] for part in config["components"] if part["props"].get("value") == "New seed"]
    (found,) = [part["id"] for part in config["dependencies"] if [button, "click"] in [list(target) for target in part["targets"]]]
    return found


def ask_for_faces(address: str, number: int, session: str) -> None:
    """Asks for the 64 faces of a new seed. Raises ValueError when they do not come."""
    question = {"data": ["given", 0, 64, 1.0, []], "fn_index": number, "session_hash": session, "event_data": None, "trigger_id": None}
    fetch(f"{address}/gradio_api/queue/join?", json.dumps(question).encode())
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=300) as events:
        for line in events:
            if b'"process_completed"' in line:
                if b'"success":true' not in line or b"base64" not in line:
                    raise ValueError(line[:200])
                return
    raise ValueError("no answer")


def fetch(url: str, data: bytes | None = None) -> bytes:
    """Returns what an address answers."""
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=300) as answer:
        return answer.read()


def read_memory(process: int) -> int:
    """Returns a process' resident memory in MB."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def read_processor(process: int) -> float:
    """Returns how many seconds of processor time a process has used."""
    parts = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / 100


if __name__ == "__main__":
    main()
