"""A configuration without its data on one device, ready to be timed: training step, prediction, and the optimiser's update alone."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import safetensors.numpy
from ml_collections import ConfigDict

from mmre_jax import systems
from mmre_jax.planning import program
from mmre_jax.planning.stand_in import stand_in
from mmre_jax.training.evaluate import make_predictor
from mmre_jax.training.job import Job, sample
from mmre_jax.training.optim import decay_mask
from mmre_jax.training.parallel import Devices, open_devices
from mmre_jax.training.starting import state_of
from mmre_jax.training.step import mapped_step
from mmre_jax.weights import pretrained, released

STEPS = 1000  # of the whole run: the schedule's constants


@dataclasses.dataclass
class Timed:
    """A compiled program that can be called again and again. call: leaves what is to be waited for."""

    call: Callable[[], Any]

    def seconds(self, calls: int) -> float:
        """Seconds a call, each waited for, as the trainer does on a CPU; elsewhere the last one."""
        each = jax.default_backend() == "cpu"
        began = time.perf_counter()
        for _ in range(calls):
            left = self.call()
            if each:
                jax.block_until_ready(left)
        jax.block_until_ready(left)
        return (time.perf_counter() - began) / calls


@dataclasses.dataclass
class Case:
    """An open configuration. state: on the device, moved on by what is timed. batch: on the host."""

    job: Job
    devices: Devices
    state: Any
    batch: dict[str, Any]

    @classmethod
    def of(cls, config: ConfigDict, *, batch: int, tokens: int, labels: int = 0, words: int = 0, seed: int = 0) -> Case:
        """With random weights and a random batch of whole records: every token and every picture is there.

        Args:
          batch: records; 0 for train.batch.
          tokens: their padded length; 0 for the longest of data.buckets, and for tasks without words. Where data.buckets are chosen from
            data, as () says, it is text.max_tokens.
          labels: see stand_in.
          words: rows of the word table; 0 for as many as the tokenizer has.
        """
        job = stand_in(config, labels=labels).job
        if words:
            job = dataclasses.replace(job, system=systems.build(job.config, vocab_size=words, labels=job.task.labels))
        longest = (job.config.text.max_tokens, *job.config.data.buckets)[-1]
        length = None if job.config.task.name == "objects" else tokens or longest
        devices = open_devices(job.config.parallel)
        assert isinstance(devices, Devices) and devices.count == 1, "one device is timed: parallel.devices=1, parallel.mapping=pmap"
        variables = jax.jit(job.system.init)(jax.random.key(seed), sample(job, length))
        state = devices.replicate(state_of(job, pretrained.load(job.config, job.system.plan, variables), STEPS))
        known = words or job.task.encoder.vocab_size
        records = batch or job.config.train.batch
        return cls(job, devices, state, whole_batch(sample(job, length), records, len(job.task.labels), known, seed))

    def about(self) -> dict[str, Any]:
        """Sizes, and what the other side needs to do the same."""
        count = {name: sum(x.size for x in jax.tree.leaves(getattr(self.state, name))) for name in ("params", "frozen")}
        config, text = self.job.config, self.batch.get("text", {})
        return {
            "parameters": count["params"] + count["frozen"],
            "trained": count["params"],
            "frozen": list(config.optim.frozen),
            "cached": getattr(getattr(self.job.system, "sight", None), "part", None) in config.optim.frozen,
            "records": len(self.batch["valid"]),
            "tokens": text["ids"].shape[1] if text else None,
            "optim": {k: config.optim[k] for k in ("lr", "warmup", "schedule", "weight_decay", "clip", "b1", "b2", "eps")},
            "multipliers": dict(config.optim.multipliers),
            "dropout": config.text.dropout,
            "attention_dropout": config.text.attention_dropout,
            "heads": config.text.heads,
            "levels": list(getattr(getattr(getattr(self.job.system, "net", None), "config", None), "levels", ())),
            "precision": config.train.precision,
            "dtype": config.train.dtype,
            "steps": STEPS,
        }

    def compile(self, what: str) -> tuple[Timed, dict[str, Any]]:
        """Compiles a program.

        Args:
          what: 'step', 'cached' (a step with features in place of pictures), 'infer', 'update' (of the trainer, with gradients that are
            given) or 'adamw' (optax's, alone, likewise).

        Returns:
          what can be timed; and seconds (trace to program), flops (of matrix products and convolutions in the traced program), callbacks,
          memory_mib (arguments, results and temporaries as XLA plans them; None where it does not say).
        """
        makers = {"step": self._step, "cached": self._cached, "infer": self._infer, "update": self._update, "adamw": self._adamw}
        mapped, arguments, keep = makers[what]()
        began = time.perf_counter()
        compiled = mapped.lower(*arguments()).compile()
        seconds = time.perf_counter() - began
        counted = program.read(jax.make_jaxpr(mapped)(*jax.tree.map(_shape, arguments())), {})
        timed = Timed(lambda: keep(compiled(*arguments())))
        return timed, {
            "seconds": seconds,
            "flops": counted.flops,
            "callbacks": counted.callbacks,
            "memory_mib": _memory_mib(compiled.memory_analysis()),
        }

    def logits(self) -> np.ndarray:
        """Of the batch, [B, R]."""
        shard = self.devices.shard(self.batch)
        return np.asarray(self.devices.collect(make_predictor(self.job, self.devices).step(self.state.variables(), shard))["logits"])

    def write(self, folder: pathlib.Path, kind: str) -> None:
        """weights.safetensors, in the names of the authors of a released kind, without what nothing reads; batch.npz, its keys joined by
        '/'."""
        variables = self.devices.first(self.state.variables())
        tensors = released.write(kind, variables, {}, self.job.system)
        safetensors.numpy.save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, folder / "weights.safetensors")
        flat = jax.tree_util.tree_flatten_with_path(self.batch)[0]
        np.savez(folder / "batch.npz", **{"/".join(key.key for key in path): x for path, x in flat})

    def _moved(self, result: tuple[Any, Any]) -> Any:
        self.state, metrics = result
        return metrics

    def _step(self) -> tuple[Any, Callable[[], tuple[Any, ...]], Callable[[Any], Any]]:
        mapped, key = mapped_step(self.job, self.devices, self.state, STEPS)
        shard = self.devices.shard(self.batch)
        return mapped, lambda: (self.state, shard, key), self._moved

    def _cached(self) -> tuple[Any, Callable[[], tuple[Any, ...]], Callable[[Any], Any]]:
        from mmre_jax.training.features import in_place  # which not every checkout has

        random, batch = np.random.default_rng(0), in_place(self.job.system, self.batch)
        batch["features"] = {name: random.standard_normal(x.shape, np.float32).astype(x.dtype) for name, x in batch["features"].items()}
        mapped, key = mapped_step(self.job, self.devices, self.state, STEPS)
        shard = self.devices.shard(batch)
        return mapped, lambda: (self.state, shard, key), self._moved

    def _infer(self) -> tuple[Any, Callable[[], tuple[Any, ...]], Callable[[Any], Any]]:
        shard = self.devices.shard(self.batch)
        return make_predictor(self.job, self.devices).step, lambda: (self.state.variables(), shard), lambda outputs: outputs

    def _update(self) -> tuple[Any, Callable[[], tuple[Any, ...]], Callable[[Any], Any]]:
        mapped, key = mapped_step(dataclasses.replace(self.job, system=Given()), self.devices, self.state, STEPS)
        shard = {"gradients": self.given()}
        return mapped, lambda: (self.state, shard, key), self._moved

    def _adamw(self) -> tuple[Any, Callable[[], tuple[Any, ...]], Callable[[Any], Any]]:
        optim = self.job.config.optim
        tx = optax.adamw(optim.lr, optim.b1, optim.b2, optim.eps, weight_decay=optim.weight_decay, mask=decay_mask)

        def update(params: Any, state: Any, gradients: Any) -> tuple[Any, Any]:
            with jax.numpy_dtype_promotion("standard"):
                updates, state = tx.update(gradients, state, params)
                return optax.apply_updates(params, updates), state

        params = jax.tree.map(lambda x: jnp.array(x[0]), self.state.params)
        held = {"params": params, "state": tx.init(params)}
        gradients = jax.tree.map(lambda x: x[0, 0], self.given())

        def keep(result: tuple[Any, Any]) -> Any:
            held["params"], held["state"] = result
            return result

        return jax.jit(update, donate_argnums=(0, 1)), lambda: (held["params"], held["state"], gradients), keep

    def given(self) -> Any:
        """The gradients that an update alone is given, as a batch of one record that lies on the device."""
        random = jax.jit(lambda x: 1e-3 * jax.random.normal(jax.random.key(1), (1, *x.shape), x.dtype))
        return jax.tree.map(random, self.state.params)


@jax.custom_vjp
def _loss_of(params: Any, gradients: Any) -> jax.Array:
    """0, with these gradients."""
    return jnp.zeros(())


_loss_of.defvjp(lambda _, gradients: (jnp.zeros(()), gradients), lambda gradients, _: (gradients, None))


class Given:
    """A system whose gradients are given, so that a step is the update alone."""

    plan = ()

    def init(self, key: jax.Array, batch: Any) -> Any:
        """Never asked for."""
        raise NotImplementedError

    def loss(self, variables: Any, batch: Any, key: jax.Array, *, axis: Any, train: bool) -> tuple[jax.Array, Any, Any]:
        """See System; batch["gradients"] are of one record."""
        gradients = jax.tree.map(lambda g: g[0], batch["gradients"])
        share = _loss_of({name: variables["params"][name] for name in gradients}, gradients)
        return share, {"loss": (share, jnp.ones(()))}, {}

    def predict(self, variables: Any, batch: Any) -> Any:
        """Never asked for."""
        raise NotImplementedError


def whole_batch(one: Mapping[str, Any], records: int, labels: int, words: int, seed: int) -> dict[str, Any]:
    """A batch like `one`, of one made-up record, with random words, labels and pixels, nothing padded and nothing absent.

    Args:
      labels: how many there are.
      words: how many there are.
    """
    random = np.random.default_rng(seed)
    batch = jax.tree.map(lambda x: np.repeat(x, records, axis=0), dict(one))
    if (text := batch.get("text")):
        text["ids"] = random.integers(min(10, words // 2), words, text["ids"].shape).astype(np.int32)
        text["mask"] = np.ones_like(text["mask"])
        if "markers" in text:
            text["markers"] = np.sort(random.integers(1, text["ids"].shape[1] - 1, text["markers"].shape), axis=1).astype(np.int32)
    if "label" in batch:
        batch["label"] = random.integers(0, labels, records).astype(np.int32)
    if "pictures" in batch:
        batch["pictures"] = {k: random.integers(0, 256, x.shape).astype(np.uint8) for k, x in batch["pictures"].items()}
        batch["present"] = {k: np.ones_like(x) for k, x in batch["present"].items()}
    return {**batch, "index": np.arange(records, dtype=np.int32)}


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _memory_mib(stats: Any) -> float | None:
    if stats is None:
        return None
    whole = stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes + stats.temp_size_in_bytes
    return int(getattr(stats, "peak_memory_in_bytes", 0) or whole) / 2**20
