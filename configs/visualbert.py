"""VisualBERT: one BERT over words and regions of the picture, for relations and entities, and on the embedded data set. For triples see
configs/adapted.py.

    python -m launch.train --config=configs/visualbert.py:quickstart --workdir=runs/visualbert

Variants:
  quickstart, quickstart_entities   small encoders from random weights on `scenes`; every picture is 8 x 8 regions.
  mnre, twitter2015, twitter2017    BERT-base and ResNet-50, photo and 3 crops, a region each. Give --config.data.root,
                                    --config.text.weights (below) and --config.vision.weights.
  minilm_mnre, minilm_twitter2015, minilm_twitter2017    the same data on a CPU: a 6-layer MiniLM, a small image encoder from random
                                    weights. Give --config.data.root and --config.text.weights.

--config.text.weights is a transformers directory of a BERT, or of a VisualBERT (uclanlp/visualbert-vqa-coco-pre and its like, with the
tokenizer.json of bert-base-uncased beside it). Of a VisualBERT the projection of regions is read, too: its regions have 2048 features
(vqa*), as a ResNet-50's, or 1024 (nlvr2*) or 512 (vcr*), and an image encoder of another width is refused. Of a BERT that projection starts
fresh, segment and position of regions as those of words.

Whose numbers: the papers that hold VisualBERT as a baseline (HVFormer, DGF-PT, QEOT, RSRNeT) state none of its settings. All settings of
mnre, twitter2015 and twitter2017 are those of HVPNeT's release, as configs/rsrnet.py:hvpnet_* has them: AdamW at 3e-5, relations batch 16,
15 epochs, 6 % warm-up, 80 tokens; entities batch 8, 30 epochs, 1 % warm-up, 128 tokens, CRF and its linear layer at 5e-2; no clipping, the
image encoder is not trained. Ours: no weight decay on biases and norms, and every number of quickstart* and minilm_*, which are those of
configs/rsrnet.py, too.

Ablations (any variant): --config.system.modalities=text; relations: --config.data.blank_words=True (the image alone).

--config.data.features=cache: what the image encoder makes of each picture is computed once and kept (8 kB in fp32), in the variants that do
not train it: mnre, twitter2015, twitter2017.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common, rsrnet

VARIANTS = ("quickstart", "quickstart_entities", *rsrnet.PUBLISHED, *(f"minilm_{name}" for name in rsrnet.PUBLISHED))


def get_config(variant: str = "mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    theirs = rsrnet.get_config(f"hvpnet_{variant}" if variant in rsrnet.PUBLISHED else variant)
    config = theirs.copy_and_resolve_references().unlock()
    config.system = common.base("visualbert").system
    if variant in ("quickstart", "quickstart_entities"):
        config.system.cells = 8
        config.train.epochs = 2
    return config.lock()
