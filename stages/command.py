"""What every stage script shares: the project's folder, params.yaml, and errors in one line.

Importing it puts the project's root on the import path, so that ``python stages/NAME.py`` runs from anywhere, with nothing
installed but the requirements. Until ``run`` begins, nothing is done yet, and Ctrl-C ends the process without a word.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import cast

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else someone wants it ignored, as nohup does
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
ROOT = Path(__file__).resolve().parents[1]
# `dvc exp run --temp` and the queue run in a copy below the project's .dvc/tmp/exps: this is the person's own folder.
HOME = next((parent.parents[2] for parent in ROOT.parents if parent.parts[-3:] == (".dvc", "tmp", "exps")), ROOT)
sys.path.insert(0, str(ROOT))

os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what Apple's GPUs cannot do goes to the CPU; PyTorch reads it as it is imported

try:
    from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

    ADDRESS_SPACE = getrlimit(RLIMIT_AS)[0] if getrlimit(RLIMIT_AS)[0] != RLIM_INFINITY else None  # in bytes, from ulimit -v
except ImportError:  # Windows
    ADDRESS_SPACE = None
if ADDRESS_SPACE and sys.argv[1:] != ["--help"] and Path(sys.argv[0]).resolve().parent == ROOT / "stages":
    # Without enough of it, OpenBLAS and PyTorch end the process while they are imported, so another process tries that first.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it prints errors about threads that it cannot start
    if subprocess.run([sys.executable, sys.argv[0], "--help"], capture_output=True).returncode:
        sys.exit(
            f"error: expected enough memory to import the libraries; found a limit of {ADDRESS_SPACE:,} bytes of address space; "
            "raise the limit (ulimit -v)"
        )

from facegan.common.errors import FaceganError  # noqa: E402 (the path above must come first)


def parser(description: str) -> argparse.ArgumentParser:
    """Returns a parser with the arguments that every stage takes."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--params", type=Path, default=ROOT / "params.yaml", help="the parameters (default: the project's params.yaml)")
    result.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return result


MORE_MEMORY = (
    "raise the limit (ulimit -v), close other programs that use the GPU, or compute on the CPU with CUDA_VISIBLE_DEVICES= before the "
    "command"
)


def run(stage: Callable[[argparse.Namespace], None], arguments: argparse.Namespace, more_memory: str = MORE_MEMORY) -> None:
    """Runs the stage. A FaceganError, or what the system refuses, becomes one clear line on stderr and exit status 1.

    Args:
        more_memory: what to do where there is too little memory.
    """
    for stream in (sys.stdout, sys.stderr):
        cast(TextIOWrapper, stream).reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the locale
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, signal.SIG_DFL):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stage(arguments)
    except FaceganError as error:
        if arguments.debug:
            raise
        sys.exit(f"error: {error}")
    except (MemoryError, RuntimeError, ImportError, OSError) as error:  # OSError: also a full disk, a folder that may not be written to
        if arguments.debug:
            raise
        if is_out_of_memory(error):
            sys.exit(describe_shortage(error, more_memory))
        if not isinstance(error, OSError):
            raise
        sys.exit(f"error: expected to read and write files; found {error}; fix that, and run the same command again")
    except KeyboardInterrupt:
        sys.exit(130)


def describe_shortage(error: Exception, more_memory: str) -> str:
    """Returns the line that reports an error for which ``is_out_of_memory`` is true."""
    found = str(error).strip().split(". ")[0].splitlines()[0] if str(error).strip() else "none left"
    return f"error: expected enough memory; found too little ({found}); {more_memory}"


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether an error tells of memory that is used up: Python's, or PyTorch's on a GPU, an Apple GPU or a CPU."""
    phrases = ["out of memory", "can't allocate memory", "Cannot allocate memory", "not enough memory", "failed to map segment"]
    phrases.append("could not create a primitive")  # oneDNN
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in phrases)


def report_import(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Reports in one line that memory ran out while a stage imported its libraries; an ``excepthook``."""
    if isinstance(error, Exception) and is_out_of_memory(error) and "--debug" not in sys.argv:
        print(describe_shortage(error, MORE_MEMORY), file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = report_import
