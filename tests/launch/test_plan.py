"""The launcher: what it prints, writes and refuses."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from typed import run  # noqa: E402

pytestmark = pytest.mark.thorough

TINY = (
    "--config=configs/hvformer.py:quickstart",
    *(f"--config.{section}.{name}=16" for section in ("text", "vision") for name in ("width", "mlp")),
    "--config.text.layers=1",
    "--config.vision.layers=1",
    "--config.data.counts=(32,4,4)",
)


def test_it_prints_and_writes_plans_and_refuses_in_one_line(tmp_path):
    file = tmp_path / "plan.json"
    good = run("plan", *TINY, "--topology=cuda:8", f"--json={file}")
    assert good.returncode == 0, good.stderr
    assert "hvformer on scenes for cuda:8: 8 chips, mesh data=8, fsdp=1" in good.stdout and "cannot be known here" in good.stdout
    assert json.loads(file.read_text())["about"]["batch"] == 32
    table, empty, none, unknown, batch, mesh = (
        run("plan", *typed)
        for typed in (
            [f"--table={tmp_path}"],
            [f"--table={tmp_path / 'other'}"],
            TINY,
            (*TINY, "--topology=v9:2x2"),
            (*TINY, "--topology=cuda:8", "--config.train.batch=9"),
            (*TINY, "--topology=cuda:8", "--mesh=3,3"),
        )
    )
    assert table.returncode == 0 and table.stdout.count("\n") == 3 and ": hvformer, scenes | cuda:8 | 32 (4) |" in table.stdout
    said = {
        "no JSON files there": empty,
        "give --config and --topology": none,
        "--topology=v9:2x2: known are v4:AxBxC": unknown,
        "does not divide over 8 chips": batch,
        "are not the 8 chips": mesh,
    }
    for words, ended in said.items():
        assert ended.returncode == 2 and words in ended.stderr, ended
        assert len([line for line in ended.stderr.splitlines() if line.strip()]) == 1, ended.stderr
