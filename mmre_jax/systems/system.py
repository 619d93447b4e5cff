"""What the trainer knows of a system, and the plain way to make one of a Flax module and an objective."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from mmre_jax.data.pictures import PicturePlan, Slot
from mmre_jax.losses import key_of_device

Variables = Mapping[str, Any]
Batch = Mapping[str, Any]
Metrics = dict[str, tuple[jax.Array, jax.Array]]
Tell = Callable[[Mapping[str, Any]], dict[str, jax.Array]]

TOLD = "told/"  # what begins the name of a prediction that is a number of each record, of which evaluation gives the mean over a split


@flax.struct.dataclass
class Features:
    """What `Sight.see` made of pictures, which a net takes in place of their pixels. by_name: [B, ...] each."""

    by_name: Mapping[str, jax.Array]


Pictures = Mapping[str, jax.Array] | Features  # pixels per slot, or what was made of them before


def side_by_side(slots: Mapping[str, jax.Array], names: tuple[str, ...]) -> jax.Array:
    """What the named slots hold, [B, K, ...] each, as one array [B, K of all, ...]; slots that are not there are passed over."""
    return jnp.concatenate([slots[name] for name in names if name in slots], axis=1)


@dataclasses.dataclass(frozen=True)
class Sight:
    """What a net computes of pictures alone, so that of an image encoder that is not trained it can be kept (training/features.py).

    see: (pixels, present, train=...) -> {name: [B, ...]}; to be called inside a compact method of the net, or of `Eye`: it makes the
      submodule `part`, and depends on no other variables.
    part: the image encoder's name among the net's parts.
    apart: whether each picture is encoded by itself: features are [B, K, ...] then, the pictures in the order of the plan, whose slots are
      alike but for their names and sources. Else a record's pictures are encoded together.
    """

    see: Callable[..., dict[str, jax.Array]]
    part: str = "vision"
    apart: bool = False

    def __call__(self, pictures: Pictures, present: Mapping[str, jax.Array], *, train: bool) -> Mapping[str, jax.Array]:
        """The features: computed, or as they were given."""
        return pictures.by_name if isinstance(pictures, Features) else self.see(pictures, present, train=train)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a net computes of its words alone, so that of a text encoder that is not trained it can be kept (training/features.py).

    read: (text, at, train=...) -> the text encoder's states, [B, K, D] at the places `at`, int [B, K], or [B, L, D] of all tokens where
      that is None; to be called inside a compact method of the net, or of `Reader`: it makes the submodule `part`, and depends on no other
      variables, and at a token on nothing but the record's own ids, mask and markers.
    places: of a text those that the net reads, as many of every record; None where it reads all tokens.
    part: the text encoder's name among the net's parts.
    """

    read: Callable[..., jax.Array]
    places: Callable[[Mapping[str, jax.Array]], jax.Array] | None = None
    part: str = "text"

    def __call__(self, text: Mapping[str, jax.Array], at: jax.Array | None, *, train: bool) -> jax.Array:
        """The states: computed, or as they were given.

        Raises:
          ValueError: where those of all tokens are asked for, and those at some places were given.
        """
        if "states" not in text:
            return self.read(text, at, train=train)
        if (at is None) != (self.places is None):
            raise ValueError("the states of the text that were kept are those at the places that the net reads, not of all tokens")
        return text["states"]


class Reader(nn.Module):
    """A net's text encoder without the net: text -> the states that `reading` reads, with the names of the net's parameters."""

    reading: Reading

    @nn.compact
    def __call__(self, text: Mapping[str, jax.Array]) -> jax.Array:
        places = self.reading.places
        return self.reading.read(text, None if places is None else places(text), train=False)


class Eye(nn.Module):
    """A net's image encoder without the net: (pixels, present) -> what `see` makes of them, with the names of the net's parameters."""

    see: Callable[..., dict[str, jax.Array]]

    @nn.compact
    def __call__(self, pixels: Mapping[str, jax.Array], present: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        return self.see(pixels, present, train=False)


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
    tell: from what the net sows as the collection "told" to numbers of each record, {name: [B]}, that are to be followed in training:
      predictions hold them under "told/NAME", and the metrics of a split their means.
    batch_norm: whether the net's statistics follow the training batches; where they do not, nothing but the optimiser changes a variable.
    sight: what of the net is a function of the pictures alone, of some use and small enough to be kept; None where nothing is.
    reading: what of it is a function of the words alone; None where nothing is.
    """

    net: nn.Module
    objective: Objective
    plan: PicturePlan
    batch_norm: bool = False
    given: tuple[str, ...] = ()
    tell: Tell | None = None
    sight: Sight | None = None
    reading: Reading | None = None

    def inputs(self, batch: Batch) -> tuple[Any, ...]:
        """The module's positional arguments: text (ids, mask, ...), normalised pixels and presence per slot. Where the batch has features
        (of a system with `sight`) they stand in place of the pixels; states of the text (of one with `reading`) are its entry `states`."""
        pictures = Features(batch["features"]) if "features" in batch else normalised(self.plan, batch)
        given = {**batch["text"], **{name: batch[name] for name in self.given}}
        return given, pictures, {slot.name: batch["present"][slot.name] for slot in self.plan}

    @property
    def seen_at_once(self) -> PicturePlan:
        """The pictures that `features` takes: one, if each is encoded by itself."""
        apart = self.sight is not None and self.sight.apart
        return (dataclasses.replace(self.plan[0], count=1),) if apart else self.plan

    def features(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """What `sight` makes of pictures as `seen_at_once` has them, {name: [B, ...]}, or [B, 1, ...] of one picture each.

        Args:
          variables: those of `sight.part` at least.
          batch: pictures and present.
        """
        if self.sight is None:
            raise ValueError("this system has no features of pictures alone")
        present = {slot.name: batch["present"][slot.name] for slot in self.seen_at_once}
        return Eye(self.sight.see).apply(variables, normalised(self.seen_at_once, batch), present)

    def states(self, variables: Variables, text: Mapping[str, jax.Array]) -> jax.Array:
        """What `reading` makes of a batch's text, [B, K, D] or [B, L, D].

        Args:
          variables: those of `reading.part` at least.
        """
        if self.reading is None:
            raise ValueError("this system has no states of the words alone")
        return Reader(self.reading).apply(variables, text)

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
        told = self.tell(sown["told"])
        return {**self.objective.predict(outputs, batch), **{TOLD + name: value for name, value in told.items()}}


def normalised(plan: PicturePlan, batch: Batch) -> dict[str, jax.Array]:
    """Of each slot `normalise`."""
    return {slot.name: normalise(batch["pictures"][slot.name], batch["present"][slot.name], slot) for slot in plan}


def normalise(pixels: jax.Array, present: jax.Array, slot: Slot) -> jax.Array:
    """uint8 [B, K, S, S, 3] -> float32 (x / 255 - mean) / std per channel; an absent picture is zero after normalisation."""
    mean = jnp.asarray(slot.mean, jnp.float32)[None, None, None, None]
    std = jnp.asarray(slot.std, jnp.float32)[None, None, None, None]
    scaled = (pixels.astype(jnp.float32) / 255.0 - mean) / std
    return jnp.where(present[:, :, None, None, None], scaled, 0.0)
