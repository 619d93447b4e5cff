"""Runs of a released arithmetic as releases: every tensor that load_state_dict wants, and which runs are of none."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("systems", "weights"))
import releases
import test_hvformer_reference as hvformer_release

from configs import dgf_pt, hvformer, ifaformer, mkgformer, rsrnet
from mmre_jax.weights import released
from mmre_jax.weights.pretrained import resolve
from mmre_jax.weights.released_runs import kind_of, never_read
from mmre_jax.weights.rules import WeightError

SIZES = dataclasses.replace(releases.SMALL, patch=4, side=28, photo=50)


def small(kind: str) -> tuple[dict[str, np.ndarray], Any, Any, Any]:
    """A release's tensors, and configuration, system and shapes of the variables that it fits."""
    name = kind.partition("_")[0]
    if kind == "hvformer_re":
        s: Any = hvformer_release.SMALL
        tensors = hvformer_release.random_release(s)
        system, shapes = hvformer_release.make(s)
        config = hvformer.get_config("reference").copy_and_resolve_references()
        shapes = {"params": shapes}
    else:
        s = SIZES if name in ("ifaformer", "mkgformer") else releases.SMALL
        tensors = releases.random_release(kind, s)
        system = releases.system_for(kind, tensors, s)
        shapes = releases.empty_variables(kind, system, s)
        config = releases.CONFIGS[name].get_config("reference").copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(released.sizes(kind, tensors, heads=s.heads))
        config.vision.side = 28 if "former" in name else s.side
    return tensors, resolve(config), system, shapes


@pytest.mark.parametrize("kind", released.KINDS)
def test_a_run_has_every_tensor_of_a_release(kind: str) -> None:
    """Names, shapes and dtypes; those of the run as they were, and of the others nothing depends on their values."""
    tensors, config, system, shapes = small(kind)
    assert kind_of(config) == kind
    variables = released.read(kind, tensors, shapes, system)
    written = released.write(kind, variables, {}, system)
    filled = never_read(kind, config, system, written)
    assert filled.keys() == released.unread(kind, tensors, system).keys()
    for name, tensor in {**written, **filled}.items():
        assert (tensor.shape, tensor.dtype) == (tensors[name].shape, tensors[name].dtype), name
        if name in written or name.endswith("position_ids"):
            np.testing.assert_array_equal(tensor, tensors[name])
    again = released.read(kind, {**written, **filled}, shapes, system)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    norms = [name for name in filled if "norm" in name and name.endswith(".weight")]
    assert all((filled[name] == 1).all() for name in norms) and (bool(norms) == ("former" in kind))
    assert not any(x.any() for name, x in filled.items() if name not in norms and not name.endswith("position_ids"))


@pytest.mark.parametrize("kind", ["hvpnet_ner", "rsrnet_re"])
def test_without_pictures_there_is_little_that_nothing_reads(kind: str) -> None:
    whole = releases.random_release(kind, releases.SMALL)
    tensors = {name: x for name, x in whole.items() if name.startswith(("bert.", "classifier.", "fc.", "crf."))}
    config = rsrnet.get_config("reference").copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(released.sizes(kind, tensors, heads=2))
    assert kind_of(config) == kind
    system = releases.system_for(kind, tensors, releases.SMALL)
    filled = never_read(kind, config, system, tensors)
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert filled.keys() == {"bert.embeddings.position_ids", *pooler} == released.unread(kind, tensors, system).keys()


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (hvformer, {"system.flavour": "paper"}, r"system.name=hvformer with system.flavour=paper is no arithmetic that was released"),
        (dgf_pt, {}, "system.name=dgf_pt with system.flavour=paper is no arithmetic"),
        (mkgformer, {"system.modalities": "text"}, r"mkgformer_re has no release without pictures \(system.modalities=text\)"),
        (mkgformer, {"task.name": "entities"}, "of system.name=mkgformer with task.name=entities no checkpoint was released"),
        (mkgformer, {"system.fused": 2}, "meet in the last third of the layers, here system.fused=2 of 12"),
        (hvformer, {"system.levels": (0, 12)}, r"experts for the levels \(0, 6, 12\), here system.levels=\(0, 12\)"),
        (hvformer, {"system.heads": 6}, "here system.heads=6"),
        (hvformer, {"vision.width": 384}, "here text.width=768 and vision.width=384"),
        (hvformer, {"vision.dialect": "vit"}, "vision.dialect=clip, here vit"),
        (ifaformer, {"vision.crops": 2}, "vision.crops=3, here 2"),
        (ifaformer, {"vision.eps": 1e-6, "text.activation": "relu"}, "text.activation=gelu, here relu, vision.eps=1e-05, here 1e-06"),
        (rsrnet, {"vision.kind": "resnet"}, "hvpnet_re has text.kind=bert, here roberta.*; rsrnet_re has vision.kind=resnest, here resnet"),
        (rsrnet, {"vision.stem_pool": False}, "rsrnet_re has vision.stem_pool=True, here False"),
        (rsrnet, {"data.objects": "none"}, "rsrnet_re has object crops, here data.objects=none"),
    ],
)
def test_runs_of_no_release_are_told_why(config: Any, changes: dict[str, Any], message: str) -> None:
    found = config.get_config("mnre" if config is dgf_pt else "reference").copy_and_resolve_references()
    with found.unlocked():
        found.update_from_flattened_dict(changes)
    with pytest.raises(WeightError, match=message):
        kind_of(found)
