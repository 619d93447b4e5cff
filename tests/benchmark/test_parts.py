"""What the benchmark measures, beside what there is."""

import pathlib

import pytest

from launch import config_file
from mmre_jax import systems
from mmre_jax.benchmark import parts

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("size", [0, 1], ids=["quickstart", "paper"])
def test_every_system_is_measured_at_both_sizes(size):
    chosen = [config for config in (row[size] for row in parts.SYSTEMS.values()) if config]
    named = {config_file.load(parts.config_of(ROOT, config))[1].system.name for config in chosen}
    assert named == set(systems.BUILDERS)


def test_a_checkout_without_the_configuration_is_left_out_where_it_is_asked_for(tmp_path):
    for name in ("hvformer", "qeot"):
        (tmp_path / "configs").mkdir(exist_ok=True)
        (tmp_path / "configs" / f"{name}.py").write_text("")
    trees = parts.Trees(str(ROOT), str(tmp_path))
    assert trees.that_have("qeot:more").before == str(tmp_path)
    assert list(trees.that_have("visualbert:mnre").folders()) == [parts.OURS]
    assert trees.before == str(tmp_path)


def test_every_system_is_planned():
    line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("PLANNED :="))
    configs = [ROOT / "configs" / config for config in line.partition(":=")[2].split()]
    assert {config_file.load(str(config))[1].system.name for config in configs} == set(systems.BUILDERS)
