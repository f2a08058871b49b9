"""What runs in a warm process ends, speaks and dies as under ``python``."""

import signal
import subprocess
import sys

import pytest
from projects import environment
from warm_python import WarmProcess, make_python

SCRIPTS = {
    "it ends": "import sys; print(sys.argv[1:], __name__, 'facegan' in sys.modules)",
    "it ends with a status": "import sys; print('out'); sys.exit(3)",
    "it ends with a word": "import sys; sys.exit('no')",
    "it fails": "1 / 0",
    "its last words are heard": "import atexit; atexit.register(print, 'bye')",
    "its environment": "import os; print(os.getcwd(), os.environ.get('OF_THE_TEST'))",
    "it has no input": "import sys; print(repr(sys.stdin.read()))",
    "it kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The program that stands in for python."""
    return make_python(tmp_path_factory.mktemp("python")) / "python"


@pytest.mark.parametrize("code", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_does_what_it_does_under_python(code, python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(code)
    about = {"cwd": tmp_path, "env": environment(OF_THE_TEST="yes")}
    cold = subprocess.run([sys.executable, script, "-a", "b"], stdin=subprocess.DEVNULL, capture_output=True, text=True, **about)
    warm = WarmProcess(script, ["-a", "b"], about["cwd"], about["env"])
    out, err = warm.communicate(timeout=60)
    stand_in = subprocess.run([python, script.name, "-a", "b"], capture_output=True, text=True, **about)
    for outcome in ((warm.returncode, out, err), (stand_in.returncode, stand_in.stdout, stand_in.stderr)):
        assert outcome[:2] == (cold.returncode, cold.stdout) and outcome[2].splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_a_signal_reaches_it_and_a_deadline_ends_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time; print('here', flush=True); time.sleep(60)")
    process = WarmProcess(script, [], tmp_path, environment())
    assert process.stdout.readline() == "here\n" and process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == -signal.SIGTERM
    with pytest.raises(subprocess.TimeoutExpired):
        WarmProcess(script, [], tmp_path, environment()).communicate(timeout=0.1)


def test_what_asks_the_stand_in_to_stop_reaches_the_script(python, tmp_path):
    (tmp_path / "script.py").write_text("import time; print('here', flush=True); time.sleep(60)")
    with subprocess.Popen([python, "script.py"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM


def test_whatever_is_no_script_is_left_to_python(python):
    assert (
        subprocess.run([python, "-c", "print('torch' in __import__('sys').modules)"], capture_output=True, check=True).stdout == b"False\n"
    )
