"""The studio's HTTP API on a real server: its answers, and the requests that it rejects."""

import io
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import numpy as np
import pytest
import torch
from browsers import HOW, serve
from marked_pictures import read_source_type, read_xmp
from PIL import Image
from projects import ROOT, environment
from small_generators import SMALL, write_small

from facegan.sampling.parameters import SampleParameters
from facegan.sampling.verification import verify

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a generator of its own, one with styles, three invalid ones, and a secret file next to them."""
    project = tmp_path_factory.mktemp("served") / "project"
    write_small(project / "data" / "model" / "generator.safetensors")
    content = write_small(project / "pretrained" / "styles.safetensors", "stylegan2").read_bytes()
    (project / "pretrained" / "truncated.safetensors").write_bytes(content[: len(content) // 2])
    torch.save({"card": {}}, project / "pretrained" / "pickle.safetensors")
    (project / "pretrained" / "empty.safetensors").write_bytes(b"")
    (project / "secret.txt").write_text("a secret")
    return project


@pytest.fixture(scope="module")
def address(project):
    with serve(project) as (address, _):
        yield address


def request(url, data=None, **headers):
    """Returns status, headers and body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=300) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def query(**values):
    return urllib.parse.urlencode(values, doseq=True)


def read_picture(body):
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


def test_a_wall_depends_on_its_seed_alone(address):
    status, headers, first = request(f"{address}/api/wall.png?{query(seed=3, count=9)}")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert read_picture(first).shape == (2 * 128, 8 * 128, 3)
    assert request(f"{address}/api/wall.png?{query(seed=3, count=9)}")[2] == first
    assert request(f"{address}/api/wall.png?{query(seed=4, count=9)}")[2] != first


def test_archives_and_animations_are_complete(address):
    archive = zipfile.ZipFile(io.BytesIO(request(f"{address}/api/wall.zip?{query(seed=3, count=5)}")[2]))
    assert archive.testzip() is None
    assert archive.namelist() == [f"3-{number}-1.png" for number in range(5)]
    for kind in ("webp", "gif"):
        _, headers, body = request(f"{address}/api/walk.{kind}?{query(face=['3-0-1', '3-1-1', '3-2-1'], frames=5)}")
        assert headers["Content-Type"] == f"image/{kind}"
        assert Image.open(io.BytesIO(body)).n_frames == 15


def test_downloads_are_marked_and_verified(address, project, tmp_path):
    _, headers, blended = request(f"{address}/api/blend.png?{query(face=['3-0-1', '3-1-1'], weight=[0.5, 0.5])}")
    expected = {"blend.png": (blended, [headers["X-Face"]])}
    for name, faces in (("wall.png", ["3-0-1", "3-1-1", "3-2-1"]), ("faces.png", ["5-7-0.8"]), ("walk.gif", ["3-0-1", "3-1-1"])):
        values = query(seed=3, count=3) if name == "wall.png" else query(face=faces)
        expected[name] = request(f"{address}/api/{name}?{values}")[2], faces
    archive = zipfile.ZipFile(io.BytesIO(request(f"{address}/api/wall.zip?{query(seed=3, count=2)}")[2]))
    expected |= {name: (archive.read(name), [name.removesuffix(".png")]) for name in archive.namelist()}
    for name, (content, faces) in expected.items():
        assert read_source_type(content) == "trainedAlgorithmicMedia" and read_xmp(content)["faces"].split() == faces
        (tmp_path / name).write_bytes(content)
        search = SampleParameters(seed=0, count=1, truncation=1.0)
        assert verify(tmp_path / name, None, [project / "data/model/generator.safetensors"], search)[0], name


def test_a_face_made_by_one_call_can_be_used_in_the_next(address):
    _, headers, blended = request(f"{address}/api/blend.png?{query(face=['3-0-1', '3-1-1'], weight=[0.5, 0.5])}")
    assert np.array_equal(read_picture(request(f"{address}/api/faces.png?{query(face=headers['X-Face'])}")[2]), read_picture(blended))
    _, headers, moved = request(f"{address}/api/move.png?{query(face=headers['X-Face'], amount=[0, 2])}")
    assert not np.array_equal(read_picture(moved), read_picture(blended))
    assert request(f"{address}/api/mix.png?{query(generator='styles', face=['3-0-1', '3-1-1'], layer=3)}")[0] == 200


def test_a_photo_is_found(address):
    _, _, photo = request(f"{address}/api/faces.png?{query(face='3-0-1')}")
    status, _, body = request(f"{address}/api/find?straighten=false", photo)
    assert status == 200, body
    _, _, found = request(f"{address}/api/faces.png?{query(face=json.loads(body)['face'])}")
    _, _, other = request(f"{address}/api/faces.png?{query(face='3-1-1')}")
    found, other = (np.abs(read_picture(picture).astype(float) - read_picture(photo)).mean() for picture in (found, other))
    assert found < 0.25 * other  # the enlarged and reduced photo is no longer exactly the generator's face


def test_the_schema_has_types_and_bounds(address):
    schema = json.loads(request(f"{address}/api/openapi.json")[2])
    wall = {part["name"]: part["schema"] for part in schema["paths"]["/api/wall.png"]["get"]["parameters"]}
    assert (wall["count"]["type"], wall["count"]["minimum"], wall["count"]["maximum"]) == ("integer", 1, 256)
    assert not [path for path in schema["paths"] if not path.startswith("/api/")]
    properties = schema["components"]["schemas"]["Training"]["properties"]
    assert "seconds_left" in properties and "pictures" not in properties  # no path of this machine


INVALID = """
wall.png?seed=-1 wall.png?seed=1e99 wall.png?seed=99999999999999999999 wall.png?seed=text wall.png?count=10000 wall.png?count=0
wall.png?truncation=nan wall.png?truncation=inf wall.png?truncation=-1 wall.png?unknown=1
wall.png?generator=../secret.txt wall.png?generator=/etc/passwd wall.png?generator=%00
wall.png?generator=truncated wall.png?generator=pickle wall.png?generator=empty
faces.png faces.png?face=x faces.png?face=0-0-nan faces.png?face=~%00
blend.png?face=0-0-1&weight=2 blend.png?face=0-0-1&weight=0 blend.png?face=0-0-1&weight=1&weight=1 blend.png?face=0-0-1&weight=nan
mix.png?face=0-0-1&face=0-1-1&layer=2 mix.png?face=0-0-1&face=0-1-1&layer=-1
move.png?face=0-0-1&amount=1e9 move.png?face=0-0-1&amount=nan
walk.webp?face=0-0-1&face=0-1-1&frames=100000 walk.exe?face=0-0-1&face=0-1-1 walk.webp?face=0-0-1
trainings/..%2f..%2fsecret/0.png trainings/workspace/0.png trainings/x/-1.png origins?face=0-0-1
export/..%2f..%2fsecret.zip export/x.zip export/x/README.md export/x/..%2f..%2f..%2fsecret.txt
"""
LONG = [f"wall.png?generator={'x' * 5000}", f"faces.png?face=~{'A' * 30000}", f"faces.zip?face={'0-0-1&face=' * 300}0-0-1"]


def test_invalid_requests_are_answered_in_one_line_and_the_server_continues(address):
    for path in [*INVALID.split(), *LONG]:
        status, _, body = request(f"{address}/api/{path}")
        assert status in (404, 422), (path, status)
        assert b"Traceback" not in body and b"a secret" not in body, path
        if status == 422:
            error = json.loads(body)["error"]
            assert error.startswith("expected ") and "; found" in error and "\n" not in error, (path, error)
    large = io.BytesIO()
    Image.new("RGB", (10_000, 10_000)).save(large, "PNG")
    for content in (b"", b"no picture", b"\0" * (21 * 2**20), large.getvalue()):
        status, _, body = request(f"{address}/api/find", content)
        assert (status, json.loads(body)["error"][:11]) == ((422, "expected a ") if len(content) < 2**24 else (413, "expected at")), body
    assert request(f"{address}/api/wall.png?count=4")[0] == 200


def test_other_paths_are_closed(address, project):
    secret = urllib.parse.quote(str(project / "secret.txt"))
    paths = f"""
    gradio_api/file={secret} gradio_api/file={project}/params.yaml gradio_api/file=/etc/passwd docs redoc openapi.json
    gradio_api/proxy=http://127.0.0.1:1/ gradio_api/run/predict gradio_api/call/x gradio_api/api/x monitoring monitoring/summary
    gradio_api/dev/reload gradio_api/vibe-edit/ gradio_api/component_server gradio_api/process_recording
    static/..%2f..%2f..%2f..{secret} assets/..%2f..%2f..%2fetc/passwd
    """
    for path in paths.split():
        status, _, body = request(f"{address}/{path}")
        assert status in (401, 403, 404, 405, 422), (path, status)
        assert b"a secret" not in body and b"root:" not in body


def test_half_sent_uploads_cost_one_line_and_leave_the_server_usable(address, project):
    host, port = address.removeprefix("http://").split(":")
    head = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n--x\r\n"
    before = (project / "studio.log").stat().st_size
    for number in range(60):
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.format(("/api/find", "/gradio_api/upload")[number % 2]).encode() + b"\0" * 10_000)
    held = [socket.create_connection((host, int(port))) for _ in range(20)]  # which stay open
    for client in held:
        client.sendall(head.format("/api/find").encode())
    while (answer := request(f"{address}/api/find", b"no picture"))[0] != 503:
        time.sleep(0.1)
    assert json.loads(answer[2])["error"].startswith("expected at most 16 uploads")
    assert request(f"{address}/api/wall.png?count=4")[0] == 200
    for client in held:
        client.close()
    while request(f"{address}/api/find", b"no picture")[0] != 422:
        time.sleep(0.1)
    assert request(f"{address}/gradio_api/queue/join", b"x" * 3 * 2**20)[0] == 413
    log = (project / "studio.log").read_text()[before:]
    assert log.count("\n") <= 1 and "Traceback" not in log, log[:2000]


def test_the_log_is_bounded(monkeypatch):
    server = pytest.importorskip("facegan.studio.server", reason=f"the studio needs its packages; {HOW}")
    monkeypatch.setattr(server, "MAX_LOG_BYTES", 100)
    target = io.StringIO()
    log = server.BoundedLog(target)
    for _ in range(50):
        print("Traceback (most recent call last)", file=log)
    assert 100 <= len(target.getvalue()) < 200 and target.getvalue().endswith("ends here\n")


def test_on_loopback_other_host_names_are_rejected(address):
    assert request(f"{address}/api/generators", Host="studio.example.org")[0] == 400
    assert request(f"{address}/api/generators", Host="localhost:7860")[0] == 200


def call_event(address, number, data):
    """Calls an event's function as the page's script does; returns the answer."""
    session = "stranger"
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session, "event_data": None, "trigger_id": None}).encode()
    status, _, answer = request(f"{address}/gradio_api/queue/join?", body, **{"Content-Type": "application/json"})
    if status != 200:
        return answer
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=120) as events:
        return next((line for line in events if b"process_completed" in line), b"")


def test_events_reject_values_that_the_page_never_sends(address):
    config = json.loads(request(f"{address}/config")[2])
    file = {"meta": {"_type": "gradio.FileData"}}
    values = ("text", {"path": "/etc/passwd", **file}, {"path": "http://127.0.0.1:9/x.png", "url": "http://127.0.0.1:9/x.png", **file})
    for dependency in config["dependencies"]:
        if dependency.get("backend_fn") and dependency["inputs"]:
            for value in values:
                answer = call_event(address, dependency["id"], [value] * len(dependency["inputs"]))
                assert b"root:" not in answer and b"a secret" not in answer and b"Traceback" not in answer
    assert request(f"{address}/api/wall.png?count=4")[0] == 200


def test_an_export_can_be_created_and_downloaded(address, project):
    pytest.importorskip("onnxscript", reason=f"exports need their packages; {HOW}")
    status, _, body = request(f"{address}/api/export", b"")
    assert status == 200, body
    name, title = json.loads(body)["name"], json.loads(body)["title"]
    assert title.startswith("facegan-dcgan-32px-")
    archive = zipfile.ZipFile(io.BytesIO(request(f"{address}/api/export/{name}.zip")[2]))
    assert archive.testzip() is None
    generator = archive.read(f"{title}/generator.safetensors")
    assert generator == (project / "data/model/generator.safetensors").read_bytes()
    assert request(f"{address}/api/export/{name}/page.html")[2] == archive.read(f"{title}/page.html")
    assert request(f"{address}/api/export/{name}/..%2fpage.html")[0] in (404, 422)


def start(*arguments):
    pytest.importorskip("gradio", reason=f"the studio needs its packages; {HOW}")
    command = [sys.executable, "-m", "facegan.studio", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--model", "pickle.safetensors"), "error: expected a safetensors file"),
        (("--model", "missing.safetensors"), "error: expected a generator at"),
        (("--port", "99999"), "error: expected to listen on"),
        (("--host", "203.0.113.7"), "error: expected to listen on"),
    ],
)
def test_problems_are_reported_before_the_page_opens(project, tmp_path, arguments, error):
    shutil.copy(project / "pretrained" / "pickle.safetensors", tmp_path)
    arguments = [tmp_path / part if part.endswith(".safetensors") else part for part in arguments]
    process = start("--project", project, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert error in output
    assert "Traceback" not in output


def test_listening_on_other_addresses_prints_a_warning(project):
    process = start("--project", project, "--host", "0.0.0.0", "--port", "0")
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
    finally:
        process.terminate()
        process.communicate()
    assert "http://0.0.0.0" in lines[0]
    assert "no password" in lines[1]


def test_every_model_is_served(tmp_path):
    for name in SMALL:
        write_small(tmp_path / "pretrained" / f"{name}.safetensors", name)
    with serve(tmp_path) as (address, _):
        for name in SMALL:
            assert request(f"{address}/api/wall.png?{query(generator=name, count=3)}")[0] == 200
            _, _, previews = request(f"{address}/api/directions.png?{query(generator=name, face='0-0-1')}")
            side = SMALL[name][0]
            assert read_picture(previews).shape == (6 * side, 7 * side, 3)
