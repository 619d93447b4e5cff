"""The released forward pass of HVFormer in PyTorch, as functions of a state dict in the authors' names.

A second implementation, written from the description of what the released code computes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from released_torch import TEXT, VISION, Batch, State, layers_of, patches, places_of, words_of

CROSS = "model.encoder.vision2text_layer_agg.cross_modal_att_layer"
MIXTURE = "model.encoder.vision2text_layer_agg.moe_layer_wise_agg"


def read_text(state: State, batch: Batch) -> torch.Tensor:
    """BERT's last states of the asked rows, [B, n, D]."""
    ids, mask = words_of(batch)
    x, added = state.embed("model.text_embeddings", ids, places_of(ids)), ((1.0 - mask) * -10000.0)[:, None, None]
    layers = layers_of(state, "model.encoder.text_layer.")
    for n in range(layers):
        layer, asked = f"model.encoder.text_layer.{n}", state.asked(x, batch) if n == layers - 1 else x
        [q], (k, v) = state.projected(layer, TEXT[:1], asked), state.projected(layer, TEXT[1:], x)
        x = state.after_attention(layer, asked, state.attend(q, k, v, added, of_text=True))
    return x


def read_crops(state: State, batch: Batch) -> list[torch.Tensor]:
    """Hidden states V^0 .. V^L of CLIP's vision tower, [B, 61, D] each."""
    hidden = [patches(state, batch)]
    for n in range(layers_of(state, "model.encoder.vision_layers.")):
        layer = f"model.encoder.vision_layers.{n}"
        projected = state.projected(layer, VISION, state.norm(f"{layer}.layer_norm1", hidden[-1], 1e-5))
        hidden.append(state.after_clip_attention(layer, hidden[-1], state.attend(*projected)))
    return hidden


def fuse(state: State, text: torch.Tensor, hidden: Sequence[torch.Tensor], levels: Sequence[int]) -> torch.Tensor:
    """The mixture of experts over the text-guided states of the levels, [B, n, D]; the image encoder's states are detached."""
    seen = []
    for n in levels:
        layer, level = f"{CROSS}.{n}", hidden[n].detach()
        q = state.split(state.linear(f"{layer}.self_attn.text_q_proj", text))
        k, v = (state.split(state.linear(f"{layer}.self_attn.vision_{name}_proj", level)) for name in "kv")
        found = state.linear(f"{layer}.self_attn.out_proj", state.attend(q, k, v))
        seen.append(state.norm(f"{layer}.layer_norm1", found, 1e-5))
    weights = torch.softmax(state.linear(f"{MIXTURE}.expert_router", torch.cat([text, *seen], dim=-1)), dim=-1)
    out = weights[..., :1] * text
    for e, visual in enumerate(seen):
        inside = F.gelu(torch.cat([text, visual], dim=-1) @ state[f"{MIXTURE}.experts1"][e])
        out = out + weights[..., e + 1 : e + 2] * (inside @ state[f"{MIXTURE}.experts2"][e] + text)
    return out


def logits(state: State, batch: Batch, levels: Sequence[int]) -> torch.Tensor:
    """[B, R]."""
    fused = fuse(state, read_text(state, batch), read_crops(state, batch), levels)
    return state.linear("re_classifier.classifier", state.marked(fused, batch))
