"""Extraction on a Ray cluster of two nodes on this machine: the same files as without, also where a node is killed on the way."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs mmre_jax[ray]: make ray"),
]
ROOT = pathlib.Path(__file__).parents[2]
POSTS = 3000

# Starts a cluster of two nodes of two CPUs, and a command on it; kills the second node when the first part is there.
CLUSTER = """
import json, os, pathlib, subprocess, sys, time
from ray.cluster_utils import Cluster
parts, kill, *command = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
node = cluster.add_node(num_cpus=2)
cluster.wait_for_nodes()
environment = {**os.environ, "RAY_ADDRESS": cluster.address}
process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
there = 0
if kill == "kill":
    while process.poll() is None and not there:
        there = len(list(pathlib.Path(parts).glob("[0-9]*.jsonl")))
        time.sleep(0.02)
    cluster.remove_node(node, allow_graceful=False)
out, err = process.communicate(timeout=600)
print(json.dumps([process.returncode, out, err, there]))
cluster.shutdown()
"""


def extract(typed, parts=".", kill="no", on="cluster"):
    command = [sys.executable, "-m", "launch.extract", *map(str, typed)]
    if on == "cluster":
        command = [sys.executable, "-c", CLUSTER, str(parts), kill, *command, "--engine=ray"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    if on != "cluster":
        return ended.returncode, ended.stdout, ended.stderr, 0
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def posts(tmp_path_factory):
    """Posts with one or two pairs each, some with a picture that is not there, and some lines that are none."""
    path = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    lines = []
    for number in range(POSTS):
        post = {"words": ["Ada", "meets", *["the"] * (number % 7), "Grace"], "mentions": [[0, 1], [1, 2]]}
        lines.append(json.dumps({**post, **({"image": "gone.png"} if number % 100 == 3 else {})})[: 20 if number % 50 == 9 else None])
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_cluster_that_loses_a_node_writes_what_one_machine_does(trained, posts, tmp_path):
    told = [f"--checkpoint={trained}", f"--input={posts}"]
    code, _, err, _ = extract([*told, f"--out={tmp_path / 'alone'}"], on="this machine")
    assert code == 0, err
    out = tmp_path / "ray"
    code, _, err, there = extract([*told, f"--out={out}"], out / "extract" / "parts", "kill")
    assert code == 0, err
    assert 0 < there < POSTS // 64, "the node was killed on the way"
    ids = [json.loads(line)["id"] for line in (out / "extracted.jsonl").read_text().splitlines()]
    assert len(ids) == len(set(ids)) == POSTS - POSTS // 50
    assert files(out) == files(tmp_path / "alone")
    print(f"a node was killed when {there} of {-(-len(ids) * 2 // 64)} parts were there\n{err}")
    code, _, err, _ = extract([*told, f"--out={out}"])
    assert code == 0 and files(out) == files(tmp_path / "alone"), err


def test_a_cluster_without_room_ends_with_a_message(trained, posts, tmp_path):
    told = [f"--checkpoint={trained}", f"--input={posts}", f"--out={tmp_path}", "--worker_cpus=64", "--silence=15"]
    code, _, err, _ = extract(told)
    assert code == 2 and "error: nothing came from the workers for 15 seconds" in err and "a worker takes 64 CPU" in err
    assert not (tmp_path / "extracted.jsonl").exists()


def test_a_missing_picture_ends_all_where_that_is_asked_for(trained, posts, tmp_path):
    code, _, err, _ = extract([f"--checkpoint={trained}", f"--input={posts}", f"--out={tmp_path}", "--strict"])
    assert code == 2 and "gone.png: no such file" in err.splitlines()[-1], err
