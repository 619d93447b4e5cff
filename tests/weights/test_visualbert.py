"""What a VisualBERT's stream starts from: all of a published one, or a BERT and what its regions take of it."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import visualbert
from mmre_jax import systems
from mmre_jax.encoders.bert import Bert, BertConfig
from mmre_jax.weights import pretrained
from mmre_jax.weights.bert import bert_rules
from mmre_jax.weights.hub import WeightError
from mmre_jax.weights.rules import write

WORDS, WIDTH, CHANNELS = 40, 8, 16
random = np.random.default_rng(0)


def directory(path: pathlib.Path, model: str, features: int = CHANNELS, **described: Any) -> dict[str, np.ndarray]:
    """Writes a model of that type, of one layer and random numbers, and returns its tensors."""
    kind = "roberta" if model == "roberta" else "bert"
    sizes = {"width": WIDTH, "layers": 1, "heads": 2, "mlp": 12, "positions": 40, "types": 1 if kind == "roberta" else 2}
    config = BertConfig(vocab_size=WORDS, kind=kind, **sizes)
    ids = np.zeros((1, 3), np.int32)
    shapes = jax.eval_shape(lambda: Bert(config).init(jax.random.key(0), ids, None, train=False))["params"]
    tensors = write(bert_rules(), jax.tree.map(lambda x: random.normal(size=x.shape).astype(np.float32), shapes))
    if model == "visual_bert":
        own = {"token_type_embeddings": (2, WIDTH), "position_embeddings": (40, WIDTH)}
        own = {f"embeddings.visual_{name}.weight": shape for name, shape in own.items()}
        own |= {"embeddings.visual_projection.weight": (WIDTH, features), "embeddings.visual_projection.bias": (WIDTH,)}
        tensors |= {name: random.normal(size=shape).astype(np.float32) for name, shape in own.items()}
        tensors = {f"visual_bert.{name}": x for name, x in tensors.items()} | {"cls.seq_relationship.bias": np.zeros(2, np.float32)}
    path.mkdir()
    (path / "config.json").write_text(json.dumps({**config.to_transformers(), "model_type": model, **described}))
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, path / "model.safetensors")
    return tensors


def started(path: pathlib.Path) -> tuple[Any, Any]:
    """(random parameters of a small system, the same started from the directory)."""
    config = visualbert.get_config("quickstart").copy_and_resolve_references()
    with config.unlocked():
        config.text.update(dict.fromkeys(("width", "layers", "heads", "mlp", "positions"), 0))
        config.text.update({"weights": str(path), "max_tokens": 32})
        config.vision.update({"side": 32, "depths": (1, 1), "stem": 8, "groups": 2})
        config.system.cells = 2
    config = pretrained.resolve(config)
    system = systems.build(config, vocab_size=WORDS, labels=("None", "a"))
    batch = {
        "text": {"ids": np.zeros((1, 5), np.int32), "mask": np.ones((1, 5), bool), "markers": np.zeros((1, 2), np.int32)},
        "pictures": {"photo": np.zeros((1, 1, 32, 32, 3), np.uint8)},
        "present": {"photo": np.ones((1, 1), bool)},
    }
    shapes = jax.eval_shape(system.init, jax.random.key(0), batch)
    before = jax.tree.map(lambda x: random.normal(size=x.shape).astype(np.float32), shapes)
    return before["params"], pretrained.load(config, system.plan, before)["params"]


def test_a_published_one_is_read_whole(tmp_path: pathlib.Path) -> None:
    tensors = directory(tmp_path / "visual", "visual_bert")
    before, params = started(tmp_path / "visual")
    found, theirs = params["regions"], {k.removeprefix("visual_bert.embeddings."): v for k, v in tensors.items()}
    np.testing.assert_array_equal(found["project"]["kernel"], theirs["visual_projection.weight"].T)
    np.testing.assert_array_equal(found["project"]["bias"], theirs["visual_projection.bias"])
    np.testing.assert_array_equal(found["type"], theirs["visual_token_type_embeddings.weight"][1])
    np.testing.assert_array_equal(found["position"], theirs["visual_position_embeddings.weight"][0])
    np.testing.assert_array_equal(params["text"]["embeddings"]["word"], theirs["word_embeddings.weight"])
    assert params["head"] is before["head"]


@pytest.mark.parametrize(("model", "segment", "position"), [("bert", 1, 0), ("roberta", 0, 2)])
def test_of_another_one_regions_take_segment_and_position(tmp_path: pathlib.Path, model: str, segment: int, position: int) -> None:
    tensors = directory(tmp_path / "text", model)
    before, params = started(tmp_path / "text")
    np.testing.assert_array_equal(params["regions"]["type"], tensors["embeddings.token_type_embeddings.weight"][segment])
    np.testing.assert_array_equal(params["regions"]["position"], tensors["embeddings.position_embeddings.weight"][position])
    assert params["regions"]["project"] is before["regions"]["project"]


def test_regions_of_another_width_are_refused_by_name(tmp_path: pathlib.Path) -> None:
    directory(tmp_path / "visual", "visual_bert", features=12)
    with pytest.raises(WeightError, match=r"does not fit the model, .*\n .*visual_projection.weight \[8, 12\] does not fit project/kernel"):
        started(tmp_path / "visual")


def test_regions_that_bypass_the_transformer_are_refused(tmp_path: pathlib.Path) -> None:
    directory(tmp_path / "visual", "visual_bert", bypass_transformer=True)
    with pytest.raises(WeightError, match="regions bypass the transformer"):
        started(tmp_path / "visual")
