"""The authors' released checkpoints of every system, in one place: which one a state dict is, its sizes, and its way in and out.

A kind is a system as its authors published it, and a task. Its checkpoint fits that system's reference flavour (systems/), which the
configuration `reference` of the system's file, changed by `sizes`, describes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmre_jax.encoders.bert import BertConfig
from mmre_jax.systems.released.hvformer import ReleasedHVFormerConfig
from mmre_jax.systems.released.ifaformer import ReleasedIFAformerConfig
from mmre_jax.systems.released.mkgformer import MKGformerConfig
from mmre_jax.systems.released.prefixes import ReleasedRSRNeTConfig
from mmre_jax.systems.rsrnet import RSRNeTConfig
from mmre_jax.systems.system import ModuleSystem
from mmre_jax.text_files import shown
from mmre_jax.weights import hvformer, ifaformer, mkgformer, resnet, rsrnet, rules
from mmre_jax.weights.rules import Rule, WeightError, as_part

Tensors = Mapping[str, np.ndarray]
Table = tuple[tuple[Rule, ...], dict[str, str]]  # for variables; and the excuses of what is not read

HEAD_WIDTH = 64  # of every released encoder; no tensor's shape shows it
CROPS = 3  # a record's, of each kind

_OF_PICTURES = ("image_model.", "encoder_conv.", "gates.")  # HVPNeT's and RSRNeT's
_PREFIXED = ("bert.embeddings.", "bert.encoder.layer.")
_STREAMS = ("model.text_embeddings.", "model.encoder.text_layer.")
_BERT = {"text.kind": "bert", "text.eps": 1e-12}
_ROBERTA = {"text.kind": "roberta", "text.eps": 1e-5, "text.pad_id": 1}
_RESNET, _RESNEST, _CLIP = "image_model.resnet.conv1.weight", "image_model.resnet.conv1.0.weight", "model.vision_embeddings.class_embedding"
_FUSION = "model.encoder.text_layer.0.intermediate.fusion_dense.weight"  # MKGformer's alone, in which all of IFAformer's names are


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a kind of checkpoint is and how it is told from the others.

    Attributes:
      system: name of the system that it is a flavour of.
      task: 'relation' or 'entities'.
      image: a tensor of its image encoder, or of what it fuses by.
      head: name of the layer that gives the classes.
      text: where the text encoder's embeddings and layers are.
      fixed: what the published system is, but no shape shows.
      max_tokens: to which the released code pads every sequence.
      lacks: a tensor that it does not have, though one that has all of its names does; '' where there is no such.
    """

    system: str
    task: str
    image: str
    head: str
    text: tuple[str, str]
    fixed: Mapping[str, Any]
    max_tokens: int = 80
    lacks: str = ""


_HVPNET = {**_BERT, "vision.kind": "resnet", "system.gate": "leaky_relu"}
_RSRNET = {**_ROBERTA, "vision.kind": "resnest", "system.gate": "selu"}
_VIT = {**_BERT, "vision.kind": "vit"}
KNOWN = {
    "hvpnet_re": Kind("rsrnet", "relation", _RESNET, "classifier", _PREFIXED, _HVPNET),
    "hvpnet_ner": Kind("rsrnet", "entities", _RESNET, "fc", _PREFIXED, _HVPNET),
    "rsrnet_re": Kind("rsrnet", "relation", _RESNEST, "classifier", _PREFIXED, _RSRNET),
    "rsrnet_ner": Kind("rsrnet", "entities", _RESNEST, "fc", _PREFIXED, _RSRNET),
    "ifaformer_re": Kind("ifaformer", "relation", _CLIP, "classifier", _STREAMS, _VIT, lacks=_FUSION),
    "ifaformer_ner": Kind("ifaformer", "entities", _CLIP, "fc", _STREAMS, _VIT, max_tokens=40, lacks=_FUSION),
    "mkgformer_re": Kind("mkgformer", "relation", _FUSION, "classifier", _STREAMS, _VIT),
    "hvformer_re": Kind("hvformer", "relation", _CLIP, "re_classifier.classifier", _STREAMS, _VIT),
}
KINDS = tuple(KNOWN)


def recognise(tensors: Tensors) -> str:
    """The kind, one of KINDS, of a state dict under the authors' names.

    Raises:
      WeightError: if no kind or several fit; it says what was looked for.
    """
    marks = {kind: (known.image, f"{known.head}.weight") for kind, known in KNOWN.items()}
    possible = [kind for kind, known in KNOWN.items() if known.lacks not in tensors]
    fitting = [kind for kind in possible if all(name in tensors for name in marks[kind]) or _is_text_only_of(kind, tensors)]
    if len(fitting) == 1:
        return fitting[0]
    without = {kind: f", not {known.lacks}" if known.lacks else "" for kind, known in KNOWN.items()}
    looked_for = "\n  ".join(f"{kind}: {' and '.join(marks[kind])}{without[kind]}" for kind in fitting or KINDS)
    if fitting:
        raise WeightError(f"these tensors fit several kinds of released checkpoints\n  {looked_for}")
    some = [shown(name) for name in sorted(tensors)[:3]]
    raise WeightError(f"no released checkpoint has these {len(tensors)} tensors, such as {some}; looked for were\n  {looked_for}")


def is_text_only(kind: str, tensors: Tensors) -> bool:
    """Whether a checkpoint of HVPNeT or RSRNeT was trained without pictures (use_prompt off): a text encoder and a head, no more."""
    return _known(kind).system == "rsrnet" and not any(name.startswith(_OF_PICTURES) for name in tensors)


def _is_text_only_of(kind: str, tensors: Tensors) -> bool:
    """Whether these are such a checkpoint of this kind: HVPNeT's BERT has two token types, RSRNeT's RoBERTa one."""
    types = tensors.get("bert.embeddings.token_type_embeddings.weight")
    if types is None or types.ndim != 2 or f"{_known(kind).head}.weight" not in tensors or not is_text_only(kind, tensors):
        return False
    return (len(types) == 1) == (_known(kind).fixed["text.kind"] == "roberta")


def sizes(kind: str, tensors: Tensors, *, heads: int = 0) -> dict[str, Any]:
    """The changes, {dotted name: value}, that make the system's configuration `reference` fit a checkpoint.

    Args:
      kind: one of KINDS.
      heads: of all attention, which no shape shows; 0 for heads of 64, as released.

    Raises:
      WeightError: for an unknown kind, and for tensors that are missing or of a shape that the kind cannot have.
    """
    known = _known(kind)
    text = _text_sizes(kind, tensors, heads)
    common = {"system.name": known.system, "system.flavour": "reference", "task.name": known.task, **known.fixed, **text}
    if is_text_only(kind, tensors):
        return {**common, "system.modalities": "text", "data.objects": "none", "optim.frozen": ()}
    if known.system == "rsrnet":
        return {**common, **_rsrnet_sizes(kind, tensors)}
    own = {"system.heads": text["text.heads"]} if known.system == "hvformer" else {}
    return {**common, **own, **_vit_sizes(kind, tensors, heads)}


def word_table(kind: str) -> str:
    """The name of a checkpoint's word table."""
    return f"{_known(kind).text[0]}word_embeddings.weight"


def vocab_rows(kind: str, tensors: Tensors) -> int:
    """Rows of the checkpoint's word table."""
    return _shape(kind, tensors, word_table(kind), 2)[0]


def classifier(kind: str) -> str:
    """The name of the kernel that gives a checkpoint's classes, one a row."""
    return f"{_known(kind).head}.weight"


def classes(kind: str, tensors: Tensors) -> int:
    """Relations or tags that the checkpoint tells apart."""
    return _shape(kind, tensors, classifier(kind), 2)[0]


def read(
    kind: str, tensors: Tensors, variables: Mapping[str, Any], system: ModuleSystem, *, source: str = "the checkpoint"
) -> dict[str, Any]:
    """The variables that a released checkpoint holds.

    Args:
      tensors: the authors' state dict, every tensor of it, by name.
      variables: of the system, as arrays or `jax.ShapeDtypeStruct`; only shapes and dtypes matter.
      system: of the reference flavour and the checkpoint's sizes.
      source: what error messages call the checkpoint.

    Returns:
      A tree like `variables`, see `rules.read`.

    Raises:
      WeightError: tensors that are missing, surplus or of another shape, all of them named; or a system of another kind.
    """
    table, excuses = _table(kind, system)
    return rules.read(table, tensors, variables, unread=excuses, source=source)


def unread(kind: str, tensors: Tensors, system: ModuleSystem) -> dict[str, str]:
    """{name: reason} for the tensors that `read` makes nothing of, since the released forward pass never reads them."""
    return rules.excused(tensors, _table(kind, system)[1])


def write(kind: str, variables: Mapping[str, Any], kept: Tensors, system: ModuleSystem) -> dict[str, np.ndarray]:
    """The inverse of `read`: the authors' state dict, bit for bit where it is float32.

    Args:
      variables: of the system.
      kept: the `unread` tensors as they were. Without them the authors' code needs `load_state_dict(tensors, strict=False)`.

    Raises:
      WeightError: for kept tensors that are none of the unread ones, all of them named.
    """
    table, excuses = _table(kind, system)
    if strangers := sorted(set(kept) - set(rules.excused(kept, excuses))):
        raise WeightError(f"kept tensors are those that {kind} never reads, found {', '.join(strangers)}")
    return {**rules.write(table, variables), **kept}


def _known(kind: str) -> Kind:
    if kind not in KNOWN:
        raise WeightError(f"the kind of a released checkpoint is one of {', '.join(KINDS)}, found {kind!r}")
    return KNOWN[kind]


def _table(kind: str, system: ModuleSystem) -> Table:
    tables: dict[str, tuple[Any, Callable[[Any], Table]]] = {
        "hvformer": (ReleasedHVFormerConfig, lambda net: (as_part(hvformer.hvformer_rules(net), "params"), hvformer.unread(net))),
        "ifaformer": (ReleasedIFAformerConfig, lambda net: (as_part(ifaformer.ifaformer_rules(net), "params"), ifaformer.unread(net))),
        "mkgformer": (MKGformerConfig, lambda net: (as_part(mkgformer.mkgformer_rules(net), "params"), mkgformer.unread(net))),
        "rsrnet": (ReleasedRSRNeTConfig | RSRNeTConfig, lambda net: (rsrnet.rsrnet_rules(net), rsrnet.unread(net))),
    }
    known = _known(kind)
    expected, table = tables[known.system]
    net = system.net.config
    if not isinstance(net, expected) or getattr(net, "task", "relation") != known.task:
        fits = f"system.name={known.system}, system.flavour=reference and task.name={known.task}"
        raise WeightError(f"a checkpoint of {kind} fits {fits}, not a {type(net).__name__} given")
    return table(net)


def _shape(kind: str, tensors: Tensors, name: str, rank: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != rank:
        found = str(list(tensors[name].shape)) if name in tensors else "none of that name"
        raise WeightError(f"a checkpoint of {kind} has a tensor {name} with {rank} axes, found {found}")
    return tuple(tensors[name].shape)


def _heads(width: int, heads: int) -> int:
    if heads == 0 and width % HEAD_WIDTH:
        raise WeightError(f"a width of {width} has no heads of {HEAD_WIDTH}: say how many heads there are")
    return heads or width // HEAD_WIDTH


def _layers(tensors: Tensors, prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)})


def _text_sizes(kind: str, tensors: Tensors, heads: int) -> dict[str, Any]:
    (embeddings, layers), named = _known(kind).text, _known(kind).fixed["text.kind"]
    width = _shape(kind, tensors, f"{embeddings}word_embeddings.weight", 2)[1]
    positions = _shape(kind, tensors, f"{embeddings}position_embeddings.weight", 2)[0]
    types = _shape(kind, tensors, f"{embeddings}token_type_embeddings.weight", 2)[0]
    if (types == 1) != (named == "roberta"):
        raise WeightError(f"the text encoder of {kind} is a {named}, but its token-type table has {types} rows")
    longest = BertConfig(width=width, heads=1, positions=positions, kind=named).max_length
    return {
        "text.width": width,
        "text.layers": _layers(tensors, layers),
        "text.heads": _heads(width, heads),
        "text.mlp": _shape(kind, tensors, f"{layers}0.intermediate.dense.weight", 2)[0],
        "text.positions": positions,
        "text.types": types,
        "text.max_tokens": min(_known(kind).max_tokens, longest),
    }


def _rsrnet_sizes(kind: str, tensors: Tensors) -> dict[str, Any]:
    found = resnet.describe_tensors(tensors, rsrnet.IMAGE, source=f"a checkpoint of {kind}")
    names = ("depths", "stem", "stem_kernel", "bottleneck")
    hidden = _shape(kind, tensors, "encoder_conv.0.weight", 2)[0]
    return {"system.hidden": hidden, **{f"vision.{name}": getattr(found, name) for name in names}}


def _vit_sizes(kind: str, tensors: Tensors, heads: int) -> dict[str, Any]:
    embeddings, layers = "model.vision_embeddings.", "model.encoder.vision_layers."
    width, _, patch, _ = _shape(kind, tensors, f"{embeddings}patch_embedding.weight", 4)
    grid = _grid(kind, tensors, f"{embeddings}aux_position_embedding.weight")
    smaller = _grid(kind, tensors, f"{embeddings}rcnn_position_embedding.weight")
    if grid != 2 * smaller:
        raise WeightError(f"grounded crops have twice the side of detected ones, found {grid} and {smaller} patches a side")
    return {
        "vision.dialect": "clip",
        "vision.width": width,
        "vision.layers": _layers(tensors, layers),
        "vision.heads": _heads(width, heads),
        "vision.mlp": _shape(kind, tensors, f"{layers}0.mlp.fc1.weight", 2)[0],
        "vision.patch": patch,
        "vision.crops": CROPS,
        "vision.crop_side": grid * patch,
    }


def _grid(kind: str, tensors: Tensors, name: str) -> int:
    """Patches along one side of the crops that share a position table."""
    rows = _shape(kind, tensors, name, 2)[0]
    grid = math.isqrt(rows // CROPS)
    if CROPS * grid**2 != rows:
        raise WeightError(f"{name} has {rows} rows, which are no {CROPS} square crops")
    return grid
