"""What reads fused states and says triples: its parts in each form, against those parts by themselves, and what it refuses."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import qeot
from mmre_jax.fusion.query_transformer import Decoder, Encoder, Slots, TransformerSizes, masked_mean
from mmre_jax.heads.queries import QueriesConfig, check_queries, queries_config, read_triples, triple_objective
from mmre_jax.heads.triples import TripleHead, TripleObjective, TripleWeights

B, L, P, D = 2, 4, 3, 8
random = np.random.default_rng(0)
TEXT, IMAGE = (random.normal(size=(B, n, D)).astype(np.float32) for n in (L, P))
WORDS, CELLS = np.array([[True] * 4, [True, True, False, False]]), np.array([[True] * 3, [False] * 3])
SIZES = TransformerSizes(heads=2, mlp=12, dropout=0.0)
DECODED = QueriesConfig(relations=3, queries=2, encoder_layers=1, decoder_layers=2, sizes=SIZES)
FORMS = {
    "the last layer": DECODED,
    "every layer": QueriesConfig(3, 2, 1, 2, SIZES, deep_supervision=True),
    "slots": QueriesConfig(3, 2, 1, 2, SIZES, queries_by="slots"),
    "slots alone": QueriesConfig(3, 2, 0, 2, SIZES, queries_by="slots"),
}


class Reading(nn.Module):
    """A system of nothing but what reads its states."""

    config: QueriesConfig

    @nn.compact
    def __call__(self, text: Any, image: Any) -> dict[str, jax.Array]:
        places = [(text, jnp.asarray(WORDS)), (image, jnp.asarray(CELLS))]
        means = [masked_mean(*each) for each in places]
        return read_triples(self.config, places, places[0], means, jnp.float32, train=False)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_its_parts_one_after_the_other(form: str) -> None:
    config = FORMS[form]
    shapes = jax.eval_shape(Reading(config).init, jax.random.key(0), TEXT, IMAGE)["params"]
    params = jax.tree.map(lambda x: random.normal(0, 0.3, x.shape).astype(np.float32), shapes)
    slots = config.queries_by == "slots"
    assert set(params) == {"slots" if slots else "decoder", "head"} | ({"encoder"} if config.encoder_layers else set())

    def by_parts(text: Any, image: Any) -> dict[str, jax.Array]:
        memory, mask = jnp.concatenate([text, image], axis=1), np.concatenate([WORDS, CELLS], axis=1)
        memory = Encoder(config.encoder_layers, SIZES).apply({"params": params.get("encoder", {})}, memory, mask, train=False)
        means = [masked_mean(text, WORDS), masked_mean(image, CELLS)]
        if slots:
            both = jnp.concatenate([means[0], masked_mean(memory, mask)], axis=-1)
            queries = Slots(2, D).apply({"params": params["slots"]}, both)
        else:
            queries = Decoder(2, 2, SIZES).apply({"params": params["decoder"]}, memory, mask, train=False)
        queries = queries if config.deep_supervision else queries[-1:]
        return TripleHead(3).apply({"params": params["head"]}, queries, text, WORDS, jnp.concatenate(means, axis=-1))

    found = jax.jit(lambda text, image: Reading(config).apply({"params": params}, text, image))(TEXT, IMAGE)
    assert found["box"].shape == (2 if config.deep_supervision else 1, B, 2, 4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, jax.jit(by_parts)(TEXT, IMAGE))


def test_sizes_and_loss_are_those_of_the_settings() -> None:
    system = qeot.get_config("more").copy_and_resolve_references().unlock().system
    assert queries_config(system, 21) == QueriesConfig(21)
    assert triple_objective(system) == TripleObjective()
    system.update({"queries": 7, "heads": 2, "mlp": 12, "dropout": 0.5, "entity_head": "mlp", "matcher": "optax", "empty_weight": 0.3})
    system.weights.giou = 1.0
    assert queries_config(system, 3) == QueriesConfig(3, 7, sizes=TransformerSizes(2, 12, 0.5), entity_head="mlp")
    assert triple_objective(system) == TripleObjective(TripleWeights(giou=1.0), 0.3, "optax")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"task.name": "relation"}, "toy extracts triples: set task.name=triples, found 'relation'"),
        ({"system.heads": 5}, "system.heads=5 does not divide text.width=64"),
        ({"text.width": 36, "system.heads": 3}, ""),
        ({"text.width": 6, "system.heads": 3}, "need a text.width divisible by 4, found 6"),
        ({"text.width": 6, "system.heads": 3, "system.modalities": "text"}, ""),
        ({"system.decoder_layers": 0}, "system.decoder_layers=0, but system.queries_by=decoder needs at least 1 layer"),
        ({"system.decoder_layers": 0, "system.queries_by": "slots"}, ""),
        ({"data.objects": "grounded"}, "toy looks at the photo alone: set data.objects=none, found 'grounded'"),
        ({"vision.resize": "crop"}, "boxes are parts of the whole photo, which vision.resize=squash alone keeps, found 'crop'"),
    ],
)
def test_contradictions_are_refused_by_the_systems_name(changes: dict[str, Any], message: str) -> None:
    config = qeot.get_config("quickstart").copy_and_resolve_references().unlock()
    config.update_from_flattened_dict(changes)
    if not message:
        check_queries(config, "toy")
        return
    with pytest.raises(ValueError, match=message):
        check_queries(config, "toy")
