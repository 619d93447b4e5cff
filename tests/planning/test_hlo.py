"""Collectives of compiled programs, and of the same programs before they are compiled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mmre_jax.planning import hlo, program

X = np.zeros((3, 5), np.float32)


def mapped(fn):
    mesh = Mesh(np.array(jax.devices()[:2]).reshape(2, 1), ("data", "fsdp"))
    return jax.jit(jax.shard_map(fn, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False))


def every_kind(x):
    """An all-reduce of 60 bytes and five of 8 in a loop, an all-gather of 28 bytes, a reduce-scatter of 96."""
    whole = jax.lax.psum(x, "data").sum()
    gathered = jax.lax.all_gather(x.reshape(-1)[:7] + whole, "data", tiled=True)
    scattered = jax.lax.psum_scatter(jnp.ones((4, 6)) * gathered[3], "data", tiled=True)

    def turn(carry, _):
        return jax.lax.psum(jnp.sin(carry), "data") * 0.5, None

    return jax.lax.scan(turn, scattered[0, :2], None, length=5)[0]


def test_collectives_of_a_program_for_two_devices():
    step = mapped(every_kind)
    rows, vague = hlo.collectives(step.lower(X).compile().as_text(), chips=2)
    assert {row.kind: row.bytes for row in rows} == {"all-reduce": 60 + 5 * 8, "all-gather": 28, "reduce-scatter": 96}
    assert {row.kind: row.count for row in rows} == {"all-reduce": 6, "all-gather": 1, "reduce-scatter": 1}
    assert vague == 0 and all(row.group == 2 and row.grows for row in rows)
    traced = program.read(step.trace(X).jaxpr, {"data": 2, "fsdp": 1})
    assert sorted(traced.collectives, key=lambda row: row.kind) == sorted(rows, key=lambda row: row.kind)


def test_a_loop_that_ends_by_a_condition_counts_once_and_is_told():
    def step(x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: jax.lax.psum(x + 1, "data"), x)

    rows, vague = hlo.collectives(mapped(step).lower(X).compile().as_text(), chips=2)
    assert [(row.kind, row.count, row.bytes) for row in rows] == [("all-reduce", 1, 60)] and vague == 1
    assert program.read(mapped(step).trace(X).jaxpr, {"data": 2, "fsdp": 1}).while_loops == 1


def test_along_an_axis_of_one_nothing_is_sent():
    step = mapped(lambda x: jax.lax.psum(x, "fsdp"))
    assert hlo.collectives(step.lower(X).compile().as_text(), chips=2) == ([], 0)
    assert program.read(step.trace(X).jaxpr, {"data": 2, "fsdp": 1}).collectives == []


MODULE = """HloModule step, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%wrapped (p: bf16[8,128]) -> bf16[2,128] {
  %p = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %scatter = bf16[2,128]{1,0:T(8,128)(2,1)} reduce-scatter(%p), channel_id=2, replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
}

%fused.1 (p: f32[32]) -> f32[64] {
  %p = f32[32]{0} parameter(0)
  ROOT %part.1 = f32[64]{0} all-gather(%p), channel_id=4, replica_groups={{0,4},{1,5},{2,6},{3,7}}, frontend_attributes={chain_id="9"}
}

%fused.2 (p: f32[32]) -> f32[64] {
  %p = f32[32]{0} parameter(0)
  ROOT %part.2 = f32[64]{0} all-gather(%p), channel_id=4, replica_groups={{0,4},{1,5},{2,6},{3,7}}, frontend_attributes={chain_id="9"}
}

%all-reduce-scatter (p: f32[24]) -> f32[6] {
  %p = f32[24]{0} parameter(0)
  %id = u32[] partition-id()
  %whole = f32[24]{0} all-reduce(%p), channel_id=5, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %part = f32[6]{0} dynamic-slice(%whole, %id), dynamic_slice_sizes={6}
}

%body (t: (f32[16], s32[])) -> (f32[16], s32[]) {
  %t = (f32[16]{0}, s32[]) parameter(0)
  %x = f32[16]{0:T(128)} get-tuple-element(%t), index=0
  %i = s32[] get-tuple-element(%t), index=1
  %r = f32[16]{0:T(128)} all-reduce(%x), channel_id=3, replica_groups=[4,2]<=[2,4]T(1,0), use_global_device_ids=true, to_apply=%add
  ROOT %out = (f32[16]{0}, s32[]) tuple(%r, %i)
}

%condition (t: (f32[16], s32[])) -> pred[] {
  %t = (f32[16]{0}, s32[]) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (x: f32[16], y: bf16[8,128], z: (f32[4], s8[32])) -> f32[64] {
  %x = f32[16]{0:T(128)S(1)} parameter(0), sharding={replicated}
  %y = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(1)
  %z1 = f32[4]{0} constant({0, 1, 2, 3})
  %z2 = s8[32]{0} constant({...})
  %i = s32[] constant(0)
  %both = (f32[4]{0}, /*index=1*/s8[32]{0}) all-reduce(%z1, %z2), replica_groups={}, to_apply=%add
  %begun = ((bf16[8,128]), bf16[2,128], u32[]) async-start(%y), calls=%wrapped
  %going = ((bf16[8,128]), bf16[2,128], u32[]) async-update(%begun), calls=%wrapped
  %done = bf16[2,128]{1,0} async-done(%going), calls=%wrapped
  %first = (f32[16]{0}, s32[]) tuple(%x, %i)
  %turned = (f32[16]{0}, s32[]) while(%first), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"},"x":[]}
  %last = f32[16]{0} get-tuple-element(%turned), index=0
  %start = (f32[16]{0}, f32[64]{0}) all-gather-start(%last), replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  %w = f32[32]{0} constant({...})
  %chain.1 = f32[64]{0} fusion(%w), kind=kCustom, calls=%fused.1
  %chain.2 = f32[64]{0} fusion(%w), kind=kCustom, calls=%fused.2
  %v = f32[24]{0} constant({...})
  %summed = f32[6]{0} fusion(%v), kind=kCustom, calls=%all-reduce-scatter
  %moved = f32[16]{0} collective-permute(%last), source_target_pairs={{0,0},{1,1}}
  ROOT %end = f32[64]{0} all-gather-done(%start)
}
"""


def test_forms_that_only_a_tpu_program_has():
    """Asynchronous ones, one in several fusions, a sum of which a part is kept, groups by strides, tuples, layouts with tiles. A chip that
    sends to itself moves nothing."""
    rows, vague = hlo.collectives(MODULE, chips=8, fsdp=4)
    assert rows == [
        hlo.Collective("all-gather", 1, 128, 2, True),
        hlo.Collective("all-gather", 1, 64, 4, False),
        hlo.Collective("all-reduce", 3, 3 * 64, 2, True),
        hlo.Collective("all-reduce", 1, 16 + 32, 8, True),
        hlo.Collective("reduce-scatter", 2, 8 * 128 * 2 + 96, 4, False),
    ]
    assert vague == 0


COUNTED = """HloModule step

%turn (t: (s32[], f32[4])) -> (s32[], f32[4]) {
  %t = (s32[]{:T(128)}, f32[4]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  %one = s32[]{:T(128)} constant(1)
  %x = f32[4]{0} get-tuple-element(%t), index=1
  %next = s32[]{:T(128)} add(%i, %one), metadata={op_name="while/body/add"}
  %r = f32[4]{0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%add
  ROOT %out = (s32[]{:T(128)}, f32[4]{0}) tuple(%next, %r)
}

%below (t: (s32[], f32[4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(7)
  %t = (s32[]{:T(128)}, f32[4]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%t), index=0
  ROOT %less = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %start = s32[]{:T(128)} copy(%zero)
  %first = (s32[]{:T(128)}, f32[4]{0}) tuple(%start, %x)
  %loop = (s32[]{:T(128)}, f32[4]{0}) while(%first), condition=%below, body=%turn
  ROOT %end = f32[4]{0} get-tuple-element(%loop), index=1
}
"""


@pytest.mark.parametrize(
    ("old", "new", "times", "unsure"),
    [
        ("", "", 7, 0),
        ("constant(0)", "constant(3)", 1, 1),
        ("constant(1)", "constant(2)", 1, 1),
        ("direction=LT", "direction=GT", 1, 1),
        ("add(%i, %one)", "multiply(%i, %one)", 1, 1),
    ],
)
def test_turns_of_a_loop_with_a_counter(old, new, times, unsure):
    """The compiler of TPUs leaves the number of turns to be read from the loop."""
    rows, vague = hlo.collectives(COUNTED.replace(old, new), chips=2)
    assert ([(row.count, row.bytes) for row in rows], vague) == ([(times, 16 * times)], unsure)


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.collectives("HloModule step", chips=2)


def flops_by_xla(fn, *arguments):
    return jax.jit(fn).lower(*arguments).compile().cost_analysis()["flops"]


def test_flops_of_products_are_those_that_xla_counts():
    x, w = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    assert program.read(jax.jit(jnp.dot).trace(x, w).jaxpr, {}).flops == 2 * 3 * 4 * 5 == flops_by_xla(jnp.dot, x, w)
    pixels, kernel = np.ones((2, 9, 9, 4), np.float32), np.ones((3, 3, 2, 6), np.float32)
    strided = functools.partial(jax.lax.conv_general_dilated, window_strides=(2, 2), padding="VALID", feature_group_count=2)
    convolution = functools.partial(strided, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert program.read(jax.jit(convolution).trace(pixels, kernel).jaxpr, {}).flops == 2 * (2 * 4 * 4 * 6) * 3 * 3 * 2
    assert flops_by_xla(convolution, pixels, kernel) == 2 * (2 * 4 * 4 * 6) * 3 * 3 * 2


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("stride", [1, 2])
def test_of_gradients_of_convolutions_zeros_are_not_counted(stride, padding):
    """XLA counts what is squared and added up, too: a few operations an element."""
    pixels, kernel = np.ones((2, 32, 32, 16), np.float32), np.ones((3, 3, 16, 24), np.float32)

    def loss(pixels, kernel):
        out = jax.lax.conv_general_dilated(pixels, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return (out**2).sum()

    for of in (0, 1):
        gradient = jax.grad(loss, of)
        counted = program.read(jax.jit(gradient).trace(pixels, kernel).jaxpr, {}).flops
        assert counted == pytest.approx(flops_by_xla(gradient, pixels, kernel), rel=0.01)


def test_a_scan_counts_as_often_as_it_runs_and_a_conditional_once():
    w = np.ones((4, 4), np.float32)

    def scanned(x):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, None, length=7)[0]

    def chosen(x):
        return jax.lax.cond(x.sum() > 0, lambda x: x @ w @ w, lambda x: x @ w, x)

    assert program.read(jax.jit(scanned).trace(w).jaxpr, {}).flops == 7 * 128
    assert program.read(jax.jit(chosen).trace(w).jaxpr, {}).flops == 2 * 128
    assert program.read(jax.jit(jax.grad(lambda x: scanned(x).sum())).trace(w).jaxpr, {}).flops == 2 * 7 * 128


def test_a_callback_is_counted():
    def step(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    assert program.read(jax.jit(step).trace(X).jaxpr, {}).callbacks == 1
