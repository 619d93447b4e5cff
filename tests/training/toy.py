"""A sixth system in one file: what anyone needs to write to train through the real loop. It has batch statistics, too."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.losses import cross_entropy, global_sum, key_of_device


class ToyNet(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, ids, mask, *, train, axis=None):
        words = nn.Embed(128, 8, name="text")(ids) * mask[:, :, None]
        pooled = words.sum(1) / mask.sum(1, keepdims=True)
        normed = nn.BatchNorm(use_running_average=not train, axis_name=axis, momentum=0.9, name="norm")(pooled)
        return nn.Dense(self.outputs, name="head")(nn.Dropout(0.1, deterministic=not train)(normed))


@dataclasses.dataclass(frozen=True)
class ToySystem:
    net: ToyNet
    plan: tuple = ()

    def _apply(self, variables, batch, **more):
        text = batch["text"]
        return self.net.apply(variables, text["ids"], text["mask"].astype(jnp.float32), **more)

    def init(self, key, batch):
        text = batch["text"]
        return self.net.init(key, text["ids"], text["mask"].astype(jnp.float32), train=False)

    def loss(self, variables, batch, key, *, axis, train):
        mutable = ["batch_stats"] if train else []
        rngs = {"dropout": key_of_device(key, axis)}
        logits, updates = self._apply(variables, batch, train=train, axis=axis, rngs=rngs, mutable=mutable)
        valid = batch["valid"].astype(jnp.float32)
        losses = cross_entropy(logits, batch["label"]) * valid
        share = losses.sum() / global_sum(valid.sum(), axis)
        return share, {"loss": (losses.sum(), valid.sum())}, updates

    def predict(self, variables, batch):
        return {"probabilities": jax.nn.softmax(self._apply(variables, batch, train=False))}
