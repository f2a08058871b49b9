"""Opens the face studio in the browser: watch trainings, look at faces, compare runs, play.

python -m facegan.studio                                  # the project's generators and runs, at http://127.0.0.1:7860
python -m facegan.studio --model any.safetensors          # another generator, shown first
"""

import argparse
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
MISSING = "error: expected the studio's packages; found no {}; run: make studio, or pip install -r requirements-studio.txt in an environment of its own"


def main() -> None:
    """Reads the arguments and serves."""
    parser = argparse.ArgumentParser(
        prog="python -m facegan.studio", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a generator.safetensors to show first (default: data/model's, else the one that ships)")
    parser.add_argument("--project", type=Path, default=PROJECT, help="the project whose runs are shown (default: this one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    arguments = parser.parse_args()
    try:
        import gradio  # noqa: F401 (whether it is there)
    except ModuleNotFoundError as error:
        sys.exit(MISSING.format(error.name))

    from facegan.common.errors import FaceganError
    from facegan.studio.generators import Generators
    from facegan.studio.server import is_loopback, serve

    try:
        check_port(arguments.host, arguments.port)
        known = Generators(arguments.project.resolve(), arguments.model and arguments.model.resolve())
        with known.use(known.first()):
            pass  # a file that is no generator is told here, not in the page
        greeting = f"the face studio: http://{arguments.host}:{arguments.port}  (Ctrl-C ends it)"
        if not is_loopback(arguments.host):
            greeting += (
                f"\nlistening on {arguments.host}: everybody who reaches this machine's port {arguments.port} can see its runs, generators, training pictures "
                "and nearest training photos, name directions and use its processor; there is no password and no encryption"
            )
        serve(arguments.project.resolve(), arguments.model and arguments.model.resolve(), arguments.host, arguments.port, greeting)
    except FaceganError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def check_port(host: str, port: int) -> None:
    """Raises FaceganError when nothing can listen there."""
    import socket

    from facegan.common.errors import FaceganError

    try:
        if not 0 <= port <= 65535:
            raise OverflowError("ports go from 0 to 65535")
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        raise FaceganError(f"expected to listen on {host}, port {port}; found: {error}; choose others with --host and --port") from None


if __name__ == "__main__":
    main()
