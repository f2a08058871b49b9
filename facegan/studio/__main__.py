"""Starts the face studio, a web page to watch training runs, browse faces, compare runs and edit faces.

python -m facegan.studio                                  # the project's generators and runs, at http://127.0.0.1:7860
python -m facegan.studio --model any.safetensors          # shows another generator first
"""

import argparse
import socket
import sys
from pathlib import Path

from facegan.common.errors import FaceganError

PROJECT = Path(__file__).resolve().parents[2]
MISSING = "error: expected the studio's packages; found no {}; run: make studio in the project's folder, or pip install 'facegan[studio]'"
PUBLIC = (
    "\nlistening on {host}: anyone who can reach port {port} of this machine can see its runs, generators, progress pictures and nearest "
    "training photos, name directions and use its processor; there is no password and no encryption"
)


def main() -> None:
    """Parses the arguments and starts the server."""
    parser = argparse.ArgumentParser(
        prog="python -m facegan.studio", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a generator.safetensors to show first (default: data/model's, else the shipped one)")
    parser.add_argument("--generators", type=Path, help="a folder of further generators (*.safetensors, searched recursively)")
    parser.add_argument("--project", type=Path, default=PROJECT, help="the project whose runs are shown (default: this one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    arguments = parser.parse_args()
    host, port = arguments.host, arguments.port
    try:
        from facegan.studio.generators import Generators
        from facegan.studio.server import is_loopback, serve

        check_port(host, port)
        model, folder = (path and path.resolve() for path in (arguments.model, arguments.generators))
        if folder and not folder.is_dir():
            raise FaceganError(f"expected a folder at {folder}; found none; name another with --generators")
        generators = Generators(arguments.project.resolve(), model, folder)
        with generators.use(generators.first()):
            pass  # reports an unreadable generator here instead of on the page
        greeting = f"the face studio: http://{host}:{port}  (stop it with Ctrl-C)"
        serve(generators, host, port, greeting if is_loopback(host) else greeting + PUBLIC.format(host=host, port=port))
    except ModuleNotFoundError as error:
        sys.exit(MISSING.format(error.name))
    except FaceganError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def check_port(host: str, port: int) -> None:
    """Raises FaceganError if the server could not listen there."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError) as error:
        raise FaceganError(f"expected to listen on {host}, port {port}; found: {error}; choose others with --host and --port") from None


if __name__ == "__main__":
    main()
