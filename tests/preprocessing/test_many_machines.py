"""The stage preprocess on the workers of a Dask scheduler, with the results so far in an S3 bucket."""

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn_faces import encode
from PIL import Image
from projects import ROOT, complete, environment, start_stage, wait_for
from raw_photos import make_raw

from facegan.common.errors import FaceganError
from facegan.parameters import read_parameters
from facegan.preprocessing.preprocess import preprocess
from facegan.preprocessing.results import open_results

pytest.importorskip("distributed", reason="needs distributed")
pytest.importorskip("s3fs", reason="needs s3fs")
server = pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors")

PARTS = "s3://bucket/parts"


@pytest.fixture(scope="module")
def bucket():
    """The file system of a local S3 server with an empty bucket, which child processes also use."""
    import fsspec

    s3 = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    s3.start()
    values = {"ENDPOINT_URL": "http://{}:{}".format(*s3.get_host_and_port()), "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"AWS_{name}", value)
        files = fsspec.filesystem("s3", use_listings_cache=False)
        files.mkdir("bucket")
        yield files
    s3.stop()


@contextlib.contextmanager
def start_dask(folder: Path, program: str, *arguments: str):
    """Starts a scheduler or a worker, which find each other by a file in ``folder``."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--scheduler-file", folder / "dask.json", "--no-dashboard"]
    with (folder / f"{program}.log").open("ab") as log:
        process = subprocess.Popen([*command, *arguments], cwd=folder, env=environment(PYTHONPATH=str(ROOT)), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def cluster(tmp_path, bucket):
    """The address of a scheduler, and its two workers."""
    local = ("--host", "127.0.0.1")
    worker = ("worker", "--nthreads", "1", "--no-nanny", *local)
    with (
        start_dask(tmp_path, "scheduler", "--port", "0", *local) as scheduler,
        start_dask(tmp_path, *worker) as first,
        start_dask(tmp_path, *worker) as second,
    ):
        wait_for(lambda: (tmp_path / "worker.log").read_text().count("Registered to") == 2, scheduler)
        yield json.loads((tmp_path / "dask.json").read_text())["address"], [first, second]


def test_two_workers_of_which_one_is_killed_give_the_same_bytes(tmp_path, bucket, cluster):
    photos = {f"{shade}.jpg": encode(Image.new("RGB", (64, 64), (shade, 90, 90))) for shade in range(100, 110)}
    large = encode(Image.new("RGB", (2500, 2500)))
    photos |= {f"{number}.jpg": large + b"%d" % number for number in range(110, 126)}
    address, (first, _) = cluster
    raw, params, out = make_raw(tmp_path, photos), ROOT / "presets/demo.yaml", tmp_path / "shards"
    arguments = {"--params": params, "--raw": raw, "--out": out, "--scheduler": address, "--results": PARTS}
    stage = start_stage(ROOT, "preprocess", *(str(value) for pair in arguments.items() for value in pair))
    wait_for(lambda: time.sleep(0.1) or len(bucket.find(PARTS)) > 6, stage)
    first.kill()
    done = complete(stage)
    assert done.returncode == 0, done.stderr
    parameters = read_parameters(params).preprocess
    preprocess(raw, parameters, tmp_path / "one process", 1)
    for path in (tmp_path / "one process").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    results = open_results(PARTS, parameters)
    assert all(results.find(hashlib.sha256(content).digest()) for content in photos.values())


def test_scheduler_and_bucket_that_cannot_be_used_are_reported(tmp_path, bucket):
    parameters, raw = read_parameters(ROOT / "params.yaml").preprocess, make_raw(tmp_path, {"a.jpg": b"no image"})
    with pytest.raises(FaceganError, match=r"expected to write to s3://missing; found FileNotFoundError: .*bucket"):
        preprocess(raw, parameters, tmp_path / "shards", 1, "s3://missing")
    with pytest.raises(FaceganError, match="expected a Dask scheduler at tcp:/127; found ValueError"):
        preprocess(raw, parameters, tmp_path / "shards", 1, scheduler="tcp:/127")
    with start_dask(tmp_path, "scheduler", "--port", "0", "--host", "127.0.0.1") as scheduler:
        address = tmp_path / "dask.json"
        wait_for(lambda: address.is_file() and address.read_text().endswith("}"), scheduler)
        with pytest.raises(FaceganError, match="expected workers of the scheduler; found none; run dask worker tcp"):
            preprocess(raw, parameters, tmp_path / "shards", 1, scheduler=json.loads(address.read_text())["address"])
