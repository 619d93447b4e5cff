"""The rows of the papers' tables that read words alone: BERT, MTB, CNN and PCNN for relations; BERT-CRF, BiLSTM-CRF and CNN-BiLSTM-CRF
for entities.

    python -m launch.train --config=configs/text_baselines.py:quickstart_pcnn --workdir=runs/pcnn

Variants:
  quickstart_bert, quickstart_mtb, quickstart_cnn, quickstart_pcnn    relations of `scenes`, whose labels need the picture, too: no text
                                                                      gets far.
  quickstart_bert_crf, quickstart_bilstm_crf, quickstart_cnn_bilstm_crf    entities of `scenes`.
  bert_mnre, mtb_mnre    BERT-base, a relation read from [CLS], or from the states of both opening markers. Give --config.data.root and
                         --config.text.weights.
  cnn_mnre, pcnn_mnre    word vectors and one convolution. Give --config.data.root, and --config.text.vectors with
                         --config.text.width=0 where you have a file of vectors; else they are random, which log and metrics.json say.
  bert_crf_twitter2015, bert_crf_twitter2017    BERT-base under a CRF. Give as for BERT.
  bilstm_crf_twitter2015, bilstm_crf_twitter2017    word vectors and a BiLSTM under a CRF. Give as for CNN.
  cnn_bilstm_crf_twitter2015, cnn_bilstm_crf_twitter2017    the same with how words are written beside their vectors.
  minilm_bert_mnre, minilm_mtb_mnre    the same on a CPU, with a 6-layer MiniLM. Give as for BERT.
  minilm_bert_crf_twitter2015, minilm_bert_crf_twitter2017    likewise.

BERT, MTB and BERT-CRF are system `rsrnet` without pictures (system.modalities=text): a linear layer on the states that are read, or linear
layer and CRF on every token's. What they are not:
  BERT (Devlin et al. 2019) classifies behind its pooler, a dense layer with tanh, and dropout; here the layer stands on [CLS] itself. The
      pair is told by markers, as in the variant "entity markers, [CLS]" of Baldini Soares et al. 2019 (figure 3 d).
  MTB (Matching the Blanks, Baldini Soares et al. 2019) is that paper's "entity markers, entity start" (figure 3 f) with its linear layer,
      started from a BERT that was trained on blanks: which it is, --config.text.weights says. With another BERT's weights it is that
      paper's BERT_EM. Markers are this library's and start fresh, even where a directory has rows for its own.

Whose numbers:
  bert_mnre   of Devlin et al. (appendix A.3: batch 16 or 32, 2e-5 to 5e-5, 2 to 4 epochs) 32, 3e-5 and 4; warm-up over 10 %, clipping at 1
      and weight decay 0.01 are their release's.
  mtb_mnre    that paper's for supervised tasks (appendix): 3e-5, batch 64, 10 epochs of its 1 to 10; the rest as BERT.
  cnn_mnre    Zeng et al. 2014: window 3, vectors of 50 and 5, 200 filters, a hidden layer of 100.
  pcnn_mnre   Zeng et al. 2015: window 3, vectors of 50 and 5, 230 filters, dropout 0.5, batch 50.
      Both papers leave the optimiser here: SGD at 0.1 and Adadelta are AdamW at 1e-3; that, and how long, is ours.
  bert_crf_*  HVPNeT's as released (configs/rsrnet.py), so that the row differs from that system's in the pictures alone.
  bilstm_crf_*        Huang et al. 2015: vectors of 50, states of 300, batch 100.
  cnn_bilstm_crf_*    Ma and Hovy 2016 (table 1): vectors of 100 (of GloVe) and of 30 for letters, 30 filters of window 3, states of 200,
      dropout 0.5 in all three places, batch 10, clipping at 5.
      Both are trained by SGD, at 0.1 and at 0.015; here by AdamW at 1e-3; that, and how long, is ours, and of the first its dropout.
  Ours: that training reads a tenth of the words as the unknown one, of which nothing else would be learnt, since all words of training have
      vectors (Lample et al. 2016 do so with words that occur once); every number of quickstart* and minilm_*, the latter and BERT's being
      configs/rsrnet.py's.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import common, rsrnet

WORD_DROPOUT = 0.1
TWITTER = ("twitter2015", "twitter2017")
VARIANTS = (
    *(f"quickstart_{name}" for name in ("bert", "mtb", "cnn", "pcnn", "bert_crf", "bilstm_crf", "cnn_bilstm_crf")),
    *(f"{name}_mnre" for name in ("bert", "mtb", "cnn", "pcnn")),
    *(f"{name}_{data}" for name in ("bert_crf", "bilstm_crf", "cnn_bilstm_crf") for data in TWITTER),
    "minilm_bert_mnre",
    "minilm_mtb_mnre",
    *(f"minilm_bert_crf_{data}" for data in TWITTER),
)


def get_config(variant: str = "pcnn_mnre") -> ConfigDict:
    """The locked configuration of a variant."""
    common.choose(variant, VARIANTS)
    size, rest = ("quickstart", variant[11:]) if variant.startswith("quickstart_") else ("", variant)
    size, rest = ("minilm", variant[7:]) if variant.startswith("minilm_") else (size, rest)
    name, data = (rest, "") if size == "quickstart" else rest.rsplit("_", 1)
    make = {"bert": _bert, "mtb": _bert, "cnn": _cnn, "pcnn": _cnn, "bert_crf": _bert_crf}
    config = make.get(name, _bilstm_crf)(name, size, data)
    config.data.objects = "none"
    return config.lock()


def _bert(name: str, size: str, data: str) -> ConfigDict:
    """BERT and MTB."""
    config = _without_pictures({"quickstart": "quickstart", "minilm": "minilm_mnre", "": "hvpnet_mnre"}[size])
    config.system.pool = "cls" if name == "bert" else "markers"
    if not size:
        config.optim.update({"lr": 3e-5, "warmup": 0.1, "clip": 1.0})
        config.train.update({"batch": 32, "epochs": 4} if name == "bert" else {"batch": 64, "epochs": 10})
    return config


def _bert_crf(name: str, size: str, data: str) -> ConfigDict:
    return _without_pictures({"quickstart": "quickstart_entities", "minilm": f"minilm_{data}", "": f"hvpnet_{data}"}[size])


def _without_pictures(variant: str) -> ConfigDict:
    """A variant of configs/rsrnet.py that reads text alone."""
    config = rsrnet.get_config(variant).copy_and_resolve_references().unlock()
    config.system.modalities = "text"
    config.optim.frozen = ()
    return config


def _cnn(name: str, size: str, data: str) -> ConfigDict:
    """CNN and PCNN."""
    config = common.base("pcnn")
    config.system.update({"pooling": "sentence", "filters": 200, "hidden": 100, "dropout": 0.0} if name == "cnn" else {})
    config.optim.lr = 1e-3
    if size == "quickstart":
        config.text.update(common.word_vectors(64, "word", 80) | {"max_tokens": 32})
        common.scenes_task(config, "relation")
        config.train.update({"epochs": 4, "eval_batch": 128})
        return config
    config.data.name = data
    config.text.update(common.word_vectors(50) | {"word_dropout": WORD_DROPOUT})
    config.train.update({"batch": 50, "epochs": 20})
    return config


def _bilstm_crf(name: str, size: str, data: str) -> ConfigDict:
    """BiLSTM-CRF and CNN-BiLSTM-CRF."""
    letters = name == "cnn_bilstm_crf"
    config = common.base("bilstm_crf", "entities")
    config.system.letters = 24 if letters else 0
    config.optim.lr = 1e-3
    if size == "quickstart":
        config.system.update({"width": 64, "dropout": 0.0, "head_dropout": 0.0, "letter_dropout": 0.0})
        config.text.update(common.word_vectors(64, "word", 80) | {"max_tokens": 32})
        common.scenes_task(config, "entities")
        config.train.update({"epochs": 4, "eval_batch": 128})
        return config
    config.data.name = data
    config.system.width = 200 if letters else 300
    config.text.update(common.word_vectors(100 if letters else 50) | {"max_tokens": 128, "word_dropout": WORD_DROPOUT})
    config.optim.clip = 5.0
    config.train.update({"batch": 10 if letters else 100, "epochs": 30})
    return config
