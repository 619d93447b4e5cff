"""IFAformer*, HVPNeT* and VisualBERT* of QEOT's table 1: their fused states feed QEOT's heads, on MORE, GMNER and the embedded data set.

    python -m launch.train --config=configs/adapted.py:visualbert_quickstart --workdir=runs/visualbert_triples

Variants:
  ifaformer_quickstart, hvpnet_quickstart, visualbert_quickstart  small encoders from random weights on `scenes`, task `triples`.
  ifaformer_gmner, hvpnet_gmner, visualbert_gmner  a 6-layer MiniLM as text encoder, a small image encoder from random weights. Give
                   --config.data.root and --config.text.weights.
  ifaformer_more   BERT-base and CLIP's ViT-B/32. Give --config.data.root, --config.text.weights and --config.vision.weights.
  hvpnet_more      BERT-base and a ResNet-50, likewise.
  visualbert_more  the same, 7 x 7 regions of 2048 features; the text's weights may be a VisualBERT's, see configs/visualbert.py.

Whose numbers: QEOT's paper states no settings of these models. Data, triples, joint loss, optimiser and length of training are those of the
variant of configs/qeot.py by that name. Ours: that Q fixed slots read the pooled states (why: mmre_jax/systems/adapted.py), with neither
encoder nor decoder in *_more, the image encoders, and every number of *_quickstart and *_gmner.

QEOT's query-based transformer behind the fused states (any variant): --config.system.queries_by=decoder --config.system.encoder_layers=6
--config.system.decoder_layers=6. Ablation (any variant): --config.system.modalities=text.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common, qeot

FUSIONS = ("ifaformer", "hvpnet", "visualbert")
SIZES = ("quickstart", "gmner", "more")
VARIANTS = tuple(f"{fusion}_{size}" for fusion in FUSIONS for size in SIZES)


def get_config(variant: str = "visualbert_more") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    fusion, _, size = variant.partition("_")
    config, theirs = common.base("adapted", "triples"), qeot.get_config(size)
    for section in ("task", "data", "text", "optim", "train", "parallel"):
        config[section] = ConfigDict(theirs[section].to_dict())
    config.system.update({name: theirs.system[name] for name in ("queries", "heads", "mlp", "dropout", "matcher", "empty_weight")})
    config.system.weights = theirs.system.weights
    config.system.update({"fusion": fusion, "queries_by": "slots", "encoder_layers": 0})
    config.vision.kind = "vit" if fusion == "ifaformer" else "resnet"
    if size == "quickstart":
        config.vision.update(common.small_vit() if fusion == "ifaformer" else common.small_resnet())
        config.system.update({"cells": 4, "encoder_layers": 1, "encoder_positions": True})
    elif size == "gmner":
        _gmner(config)
    return config.lock()


def _gmner(config: ConfigDict) -> None:
    """As configs/qeot.py; the vision transformer, which needs the text encoder's depth and width, as in configs/ifaformer.py."""
    if config.system.fusion == "ifaformer":
        config.vision.update({"dialect": "vit", "width": 384, "layers": 6, "heads": 12, "mlp": 768, "init_std": 0.0})
        config.vision.update({"positions": "sine", "side": 128})
    else:
        config.vision.update({**common.small_resnet(), "depths": (1, 1, 1), "side": 128})
    config.system.update({"cells": 8, "encoder_layers": 2, "encoder_positions": True})
