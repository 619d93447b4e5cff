"""What the trainer knows of a system, and the plain way to make one of a Flax module and an objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.losses import key_of_device

Variables = Mapping[str, Any]
Batch = Mapping[str, Any]
Metrics = dict[str, tuple[jax.Array, jax.Array]]
Tell = Callable[[Mapping[str, Any], Batch], dict[str, jax.Array]]

TOLD = "told/"  # what begins the name of a prediction that is a number of each record, of which evaluation gives the mean over a split


class System(Protocol):
    """Three pure functions and the pictures they look at.

    `loss` returns this shard's share of the global batch's loss: shares add up over `axis`. Metrics are local (sum, count) pairs. Its key
    is the same on all shards: what differs by device, as dropout does, is drawn with `losses.key_of_device`, what belongs to a record by
    the record's `index`.
    `updates` are new values of the variable collections other than params (batch statistics), equal on all shards.
    """

    plan: PicturePlan

    def init(self, key: jax.Array, batch: Batch) -> Variables: ...

    def loss(
        self, variables: Variables, batch: Batch, key: jax.Array, *, axis: str | None, train: bool
    ) -> tuple[jax.Array, Metrics, Variables]: ...

    def predict(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]: ...


class Objective(Protocol):
    """A loss on a module's outputs and the predictions read off them."""

    def loss(self, outputs: Any, batch: Batch, axis: str | None) -> tuple[jax.Array, Metrics]: ...

    def predict(self, outputs: Any, batch: Batch) -> dict[str, jax.Array]: ...


@dataclasses.dataclass(frozen=True)
class ModuleSystem:
    """A linen module called as net(text, pixels, present, train=...) under an objective.

    given: what the module takes of the batch beside `text`, by name; it stands among the text's entries.
    tell: from what the net sows as the collection "told", and the batch, to numbers of each record, {name: [B]}, that are to be followed in
      training: predictions hold them under "told/NAME", and the metrics of a split their means.
    batch_norm: whether the net's statistics follow the training batches; where they do not, nothing but the optimiser changes a variable.
    """

    net: nn.Module
    objective: Objective
    plan: PicturePlan
    batch_norm: bool = False
    given: tuple[str, ...] = ()
    tell: Tell | None = None

    def inputs(self, batch: Batch) -> tuple[Any, ...]:
        """The module's positional arguments: text (ids, mask, ...), normalised pixels and presence per slot."""
        pixels = {slot.name: normalise(batch["pictures"][slot.name], batch["present"][slot.name], slot) for slot in self.plan}
        given = {**batch["text"], **{name: batch[name] for name in self.given}}
        return given, pixels, {slot.name: batch["present"][slot.name] for slot in self.plan}

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Initial variables; of the batch only shapes matter."""
        return self.net.init(key, *self.inputs(batch), train=False)

    def loss(
        self, variables: Variables, batch: Batch, key: jax.Array, *, axis: str | None, train: bool
    ) -> tuple[jax.Array, Metrics, Variables]:
        """See System. Batch statistics are each shard's own in normalising, and averaged over the axis in what is kept of them."""
        mutable = [name for name in variables if name != "params"] if train and self.batch_norm else []
        rngs = {"dropout": key_of_device(key, axis)}
        outputs, updates = self.net.apply(variables, *self.inputs(batch), train=train, rngs=rngs, mutable=mutable)
        share, metrics = self.objective.loss(outputs, batch, axis)
        if axis is not None and updates:
            updates = jax.lax.pmean(updates, axis)
        return share, metrics, updates

    def predict(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """Predictions of a batch, arrays with leading axis B."""
        if self.tell is None:
            return self.objective.predict(self.net.apply(variables, *self.inputs(batch), train=False), batch)
        outputs, sown = self.net.apply(variables, *self.inputs(batch), train=False, mutable=["told"])
        told = self.tell(sown["told"], batch)
        return {**self.objective.predict(outputs, batch), **{TOLD + name: value for name, value in told.items()}}


def normalise(pixels: jax.Array, present: jax.Array, slot: Slot) -> jax.Array:
    """uint8 [B, K, S, S, 3] -> float32 (x / 255 - mean) / std per channel; an absent picture is zero after normalisation."""
    mean = jnp.asarray(slot.mean, jnp.float32)[None, None, None, None]
    std = jnp.asarray(slot.std, jnp.float32)[None, None, None, None]
    scaled = (pixels.astype(jnp.float32) / 255.0 - mean) / std
    return jnp.where(present[:, :, None, None, None], scaled, 0.0)
