"""The released forward passes of HVPNeT, RSRNeT, IFAformer and MKGformer in PyTorch, as functions of a state dict in the authors' names.

A second implementation, written from the description of what the released code computes, operation by operation.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
import torchcrf

Batch = dict[str, Any]
COLOURS = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclasses.dataclass(frozen=True)
class State:
    """A state dict and PyTorch's layers over it. Shape letters: B batch, n positions, D width, H heads, d head width."""

    tensors: dict[str, torch.Tensor]
    heads: int
    eps: float  # of the text encoder's norms

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)

    def batch_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        held = [self[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *held, training=False, eps=1e-5)

    def conv(self, name: str, x: torch.Tensor, stride: int = 1, padding: int = 0, groups: int = 1) -> torch.Tensor:
        return F.conv2d(x, self[f"{name}.weight"], self.tensors.get(f"{name}.bias"), stride=stride, padding=padding, groups=groups)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """[B, n, D] -> [B, H, n, d], with the transpose."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def raw_view(self, x: torch.Tensor) -> torch.Tensor:
        """[B, n, D] -> [B, H, n, d], the same memory."""
        batch, count, width = x.shape
        return x.contiguous().view(batch, self.heads, count, width // self.heads)

    def projected(self, layer: str, names: tuple[str, ...], x: torch.Tensor) -> list[torch.Tensor]:
        return [self.split(self.linear(f"{layer}.{name}", x)) for name in names]

    def embed(self, embeddings: str, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        words = F.embedding(ids, self[f"{embeddings}.word_embeddings.weight"])
        places = F.embedding(positions, self[f"{embeddings}.position_embeddings.weight"])
        types = self[f"{embeddings}.token_type_embeddings.weight"][0]
        return self.dropped(self.norm(f"{embeddings}.LayerNorm", words + places + types, self.eps))

    def after_attention(self, layer: str, x: torch.Tensor, mixed: torch.Tensor, fused: torch.Tensor | float = 0.0) -> torch.Tensor:
        """The rest of a BERT layer: x and the attention's context, [B, n, D] each; `fused` joins before the activation."""
        mixed = self.dropped(self.linear(f"{layer}.attention.output.dense", mixed))
        x = self.norm(f"{layer}.attention.output.LayerNorm", mixed + x, self.eps)
        hidden = self.linear(f"{layer}.output.dense", F.gelu(self.linear(f"{layer}.intermediate.dense", x) + fused))
        return self.norm(f"{layer}.output.LayerNorm", self.dropped(hidden) + x, self.eps)

    def after_clip_attention(self, layer: str, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """The rest of a layer of CLIP's vision tower, likewise."""
        x = x + self.linear(f"{layer}.self_attn.out_proj", mixed)
        hidden = self.linear(f"{layer}.mlp.fc1", self.norm(f"{layer}.layer_norm2", x, 1e-5))
        return x + self.linear(f"{layer}.mlp.fc2", hidden * torch.sigmoid(1.702 * hidden))

    def dropped(self, x: torch.Tensor) -> torch.Tensor:
        """What the text's dropout leaves of embeddings and of both halves of a layer: all of it, but in training."""
        return x

    def asked(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The rows of the last text layer's input [B, n, D] whose output is computed: all, where a head does not read fewer."""
        return x

    def marked(self, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The states at both markers, [B, 2 D], of those of the `asked` rows."""
        return at_markers(states, batch).flatten(1)

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, added: torch.Tensor | None = None, *, of_text: bool = False
    ) -> torch.Tensor:
        """[B, H, n, d] each -> the context [B, n, D]. of_text: of a text encoder, whose weights dropout thins in training."""
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        weights = torch.softmax(scores if added is None else scores + added, dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2)


TEXT = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))
VISION = tuple(f"self_attn.{name}_proj" for name in "qkv")


def pixels_of(batch: Batch, slot: str, colours: str) -> torch.Tensor:
    """[B, K, 3, S, S], zeros where there is no picture."""
    pixels, present = torch.as_tensor(batch["pictures"][slot]), torch.as_tensor(batch["present"][slot])
    mean, std = (torch.tensor(values, device=pixels.device) for values in COLOURS[colours])
    scaled = (pixels.float() / 255.0 - mean) / std
    return torch.where(present[:, :, None, None, None], scaled, 0.0).permute(0, 1, 4, 2, 3)


def words_of(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids int64, mask float32), [B, n] each."""
    return torch.as_tensor(batch["text"]["ids"]).long(), torch.as_tensor(batch["text"]["mask"]).float()


def places_of(ids: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids.shape[1], device=ids.device).expand_as(ids)


def layers_of(state: State, prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state.tensors if name.startswith(prefix)})


# ---- Image networks.


def stages(state: State, x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of layer1 .. layer4 of a ResNet or ResNeSt, [M, C, h, w] each."""
    p = "image_model.resnet."
    split = f"{p}conv1.0.weight" in state.tensors
    if split:
        x = F.relu(state.batch_norm(f"{p}conv1.1", state.conv(f"{p}conv1.0", x, stride=2, padding=1)))
        x = F.relu(state.batch_norm(f"{p}conv1.4", state.conv(f"{p}conv1.3", x, padding=1)))
        x = F.relu(state.batch_norm(f"{p}bn1", state.conv(f"{p}conv1.6", x, padding=1)))
    else:
        x = F.relu(state.batch_norm(f"{p}bn1", state.conv(f"{p}conv1", x, stride=2, padding=3)))
    x, maps = F.max_pool2d(x, 3, 2, padding=1), []
    for stage in range(1, 5):
        for n in range(layers_of(state, f"{p}layer{stage}.")):
            stride = 2 if n == 0 and stage > 1 else 1
            x = (resnest_block if split else resnet_block)(state, f"{p}layer{stage}.{n}", x, stride)
        maps.append(x)
    return maps


def resnet_block(state: State, name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
    y = F.relu(state.batch_norm(f"{name}.bn1", state.conv(f"{name}.conv1", x)))
    y = F.relu(state.batch_norm(f"{name}.bn2", state.conv(f"{name}.conv2", y, stride=stride, padding=1)))
    y = state.batch_norm(f"{name}.bn3", state.conv(f"{name}.conv3", y))
    if f"{name}.downsample.0.weight" in state.tensors:
        x = state.batch_norm(f"{name}.downsample.1", state.conv(f"{name}.downsample.0", x, stride=stride))
    return F.relu(x + y)


def resnest_block(state: State, name: str, x: torch.Tensor, stride: int) -> torch.Tensor:
    y = F.relu(state.batch_norm(f"{name}.bn1", state.conv(f"{name}.conv1", x)))
    y = F.relu(state.batch_norm(f"{name}.conv2.bn0", state.conv(f"{name}.conv2.conv", y, padding=1, groups=2)))
    first, second = y.chunk(2, dim=1)
    pooled = F.adaptive_avg_pool2d(first + second, 1)
    scores = state.conv(f"{name}.conv2.fc2", F.relu(state.batch_norm(f"{name}.conv2.bn1", state.conv(f"{name}.conv2.fc1", pooled))))
    weights = torch.softmax(scores.unflatten(1, (2, -1)), dim=1)
    y = weights[:, 0] * first + weights[:, 1] * second
    if stride == 2:
        y = F.avg_pool2d(y, 3, 2, padding=1)
    y = state.batch_norm(f"{name}.bn3", state.conv(f"{name}.conv3", y))
    if f"{name}.downsample.1.weight" in state.tensors:
        x = F.avg_pool2d(x, stride, stride, ceil_mode=True, count_include_pad=False)
        x = state.batch_norm(f"{name}.downsample.2", state.conv(f"{name}.downsample.1", x))
    return F.relu(x + y)


# ---- HVPNeT and RSRNeT.


def prefixes(state: State, batch: Batch, rsrnet: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each text layer the visual keys and values, [B, H, 16, d] each."""
    pictures = torch.cat([pixels_of(batch, slot, "imagenet") for slot in ("photo", "grounded")], dim=1)
    layers = layers_of(state, "bert.encoder.layer.")
    each: list[list[torch.Tensor]] = [[] for _ in range(layers)]
    for k in range(pictures.shape[1]):
        maps = stages(state, pictures[:, k])
        pooled = torch.cat([F.avg_pool2d(x, x.shape[-1] // 2) for x in maps], dim=1)  # [B, C, 2, 2]
        blocks = pooled.reshape(len(pooled), 4, -1)
        pieces = state.linear("encoder_conv.2", torch.tanh(state.linear("encoder_conv.0", blocks))).chunk(4, dim=-1)
        mean = torch.stack(pieces).sum(dim=0).flatten(1) / 4
        for n in range(layers):
            scores = state.linear(f"gates.{n}", mean)
            gates = torch.softmax(F.selu(scores) if rsrnet and k == 0 else F.leaky_relu(scores), dim=-1)
            each[n].append(sum(gates[:, i, None, None] * piece for i, piece in enumerate(pieces)))
    both = [torch.cat(pieces, dim=1).chunk(2, dim=-1) for pieces in each]
    return [(state.raw_view(keys), state.raw_view(values)) for keys, values in both]


def prefixed_text(state: State, batch: Batch, rsrnet: bool) -> torch.Tensor:
    """The last text states of HVPNeT, or RSRNeT, [B, n, D]."""
    ids, mask = words_of(batch)
    visual = prefixes(state, batch, rsrnet)
    places = places_of(ids)
    if rsrnet:
        token = (ids != 1).long()
        places = (torch.cumsum(token, dim=1) + 16) * token + 1
    x = state.embed("bert.embeddings", ids, places)
    seen = torch.cat([mask.new_ones(len(ids), 16), mask], dim=1)
    added = (1.0 - seen)[:, None, None] * (torch.finfo(torch.float32).min if rsrnet else -10000.0)
    for n, (keys, values) in enumerate(visual):
        layer, asked = f"bert.encoder.layer.{n}", state.asked(x, batch) if n == len(visual) - 1 else x
        [q], (k, v) = state.projected(layer, TEXT[:1], asked), state.projected(layer, TEXT[1:], x)
        mixed = state.attend(q, torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2), added, of_text=True)
        x = state.after_attention(layer, asked, mixed)
    return x


# ---- IFAformer and MKGformer.


def patches(state: State, batch: Batch) -> torch.Tensor:
    """The embedded visual sequence, [B, 61, D]."""
    v = "model.vision_embeddings"
    parts = [state[f"{v}.class_embedding"].expand(len(batch["text"]["ids"]), 1, -1)]
    for slot, table in (("grounded", "aux"), ("detected", "rcnn")):
        crops = pixels_of(batch, slot, "clip")
        kernel = state[f"{v}.patch_embedding.weight"]
        each = [F.conv2d(crops[:, i], kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2) for i in range(crops.shape[1])]
        parts.append(torch.cat(each, dim=1) + state[f"{v}.{table}_position_embedding.weight"])
    x = state.norm("model.vision_pre_layrnorm", torch.cat(parts, dim=1), 1e-5)
    assert x.shape[1] == 61
    return x


def exchanged_text(state: State, batch: Batch) -> torch.Tensor:
    """The last text states of IFAformer, [B, n, D]."""
    ids, mask = words_of(batch)
    text = state.embed("model.text_embeddings", ids, places_of(ids))
    vision = patches(state, batch)
    added = torch.cat([mask.new_ones(len(ids), 61), (1.0 - mask) * -10000.0], dim=1)[:, None, None]
    of_text = (state.raw_view(text), state.raw_view(text))
    first = state.raw_view(vision)
    layers = layers_of(state, "model.encoder.text_layer.")
    for n in range(layers):
        layer = f"model.encoder.vision_layers.{n}"
        normed = state.norm(f"{layer}.layer_norm1", vision, 1e-5)
        [of_vision] = state.projected(layer, VISION[1:2], normed)
        if n < layers - 1:  # of the last layer nothing reads more than the keys
            q, v = state.projected(layer, VISION[::2], normed)
            mixed = state.attend(q, torch.cat([of_text[0], of_vision], dim=2), torch.cat([of_text[1], v], dim=2))
            vision = state.after_clip_attention(layer, vision, mixed)

        layer, asked = f"model.encoder.text_layer.{n}", state.asked(text, batch) if n == layers - 1 else text
        [q], (k, v) = state.projected(layer, TEXT[:1], asked), state.projected(layer, TEXT[1:], text)
        keys = first if n == 0 else of_vision
        mixed = state.attend(q, torch.cat([keys, k], dim=2), torch.cat([keys, v], dim=2), added, of_text=True)
        text = state.after_attention(layer, asked, mixed)
        of_text = (k, v)
    return text


def met_text(state: State, batch: Batch) -> torch.Tensor:
    """The last text states of MKGformer, [B, n, D]; its streams meet in the last third of the layers."""
    ids, mask = words_of(batch)
    text = state.embed("model.text_embeddings", ids, places_of(ids))
    vision, added = patches(state, batch), ((1.0 - mask) * -10000.0)[:, None, None]
    layers = layers_of(state, "model.encoder.text_layer.")
    first = {2: 1, 3: 2, 12: 8}[layers]
    of_text: list[torch.Tensor] = []
    for n in range(layers):
        layer = f"model.encoder.vision_layers.{n}"
        q, k, v = state.projected(layer, VISION, state.norm(f"{layer}.layer_norm1", vision, 1e-5))
        if n >= first:  # of the text's layer before, padding included
            k, v = (torch.cat(pair, dim=2) for pair in zip(of_text, (k, v), strict=True))
        vision = state.after_clip_attention(layer, vision, state.attend(q, k, v))

        layer, asked = f"model.encoder.text_layer.{n}", state.asked(text, batch) if n == layers - 1 else text
        [q], of_text = state.projected(layer, TEXT[:1], asked), state.projected(layer, TEXT[1:], text)
        mixed, fused = state.attend(q, *of_text, added, of_text=True), 0.0
        if n >= first:
            found = torch.softmax(mixed @ vision.transpose(1, 2), dim=-1) @ vision
            fused = state.linear(f"{layer}.intermediate.fusion_dense", found)
        text = state.after_attention(layer, asked, mixed, fused)
    return text


# ---- Heads.


def states_of(state: State, batch: Batch, kind: str) -> torch.Tensor:
    if kind.startswith(("ifaformer", "mkgformer")):
        return (exchanged_text if kind.startswith("ifaformer") else met_text)(state, batch)
    return prefixed_text(state, batch, kind.startswith("rsrnet"))


def logits(state: State, states: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[B, R]."""
    return state.linear("classifier", state.marked(states, batch))


def at_markers(states: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[B, n, D] -> the rows at both markers, [B, 2, D]."""
    markers = torch.as_tensor(batch["text"]["markers"]).long()
    return states.gather(1, markers[:, :, None].expand(-1, -1, states.shape[-1]))


def chain(state: State) -> torchcrf.CRF:
    """The CRF module with the release's scores."""
    module = torchcrf.CRF(len(state["crf.transitions"]), batch_first=True)
    module.load_state_dict({name.removeprefix("crf."): x.detach() for name, x in state.tensors.items() if name.startswith("crf.")})
    return module
