"""A script in a warm process ends, prints and dies as under ``python``."""

import signal
import subprocess
import sys

import pytest
from projects import environment
from warm_python import find_script, make_python, start_script

START = "import atexit, os, signal, sys; atexit.register(print, 'bye'); print(__name__, 'facegan' in sys.modules, repr(sys.stdin.read()));"
SCRIPTS = {
    "returns": f"{START} print(sys.argv[1:], os.getcwd(), os.environ.get('OF_THE_TEST'))",
    "exits with a message": f"{START} sys.exit('no')",
    "raises": f"{START} 1 / 0",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}
SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


@pytest.mark.parametrize("code", SCRIPTS.values(), ids=SCRIPTS)
def test_script_behaves_as_under_python(code, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(code)
    cold = subprocess.run(
        [sys.executable, script, "-a", "b"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=tmp_path, env=environment(OF_THE_TEST="yes"),
    )  # fmt: skip
    warm = start_script(script, ["-a", "b"], tmp_path, environment(OF_THE_TEST="yes"))
    out, err = warm.communicate(timeout=60)
    assert (warm.returncode, out, err.splitlines()[-1:]) == (cold.returncode, cold.stdout, cold.stderr.splitlines()[-1:])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_reaches_the_script(number, tmp_path):
    (tmp_path / "script.py").write_text(SLEEP)
    process = start_script(tmp_path / "script.py", [], tmp_path, environment())
    assert int(process.stdout.readline()) == find_script(process)
    process.send_signal(number)
    process.communicate(timeout=60)  # returns when the script has closed its output
    assert process.returncode == -number


def test_python_program_runs_scripts_in_the_server_and_other_code_itself(tmp_path):
    python = make_python(tmp_path) / "python"
    (tmp_path / "script.py").write_text("import sys; print('torch' in sys.modules)")
    for arguments, output in ((["script.py"], "True"), (["-c", "import sys; print('torch' in sys.modules)"], "False")):
        assert subprocess.run([python, *arguments], cwd=tmp_path, capture_output=True, text=True).stdout.strip() == output
