"""Declarations of settings: what each kind accepts, and what is said of what it does not."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from mmre_jax import declare
from mmre_jax.declare import Interval, SettingError, choice, factors, flag, names, number, text, whole, wholes

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
TRIED = [True, False, None, "", "a", 0, 1, -1, 2, 7, 0.0, 0.5, 1.0, -0.5, 1.5, math.nan, math.inf, -math.inf, (), (1,), [1], {}]

SECTION = {
    "rate": number(0.1, "[0, 1)", "a rate"),
    "layers": whole(2, "[1, inf)", "how deep", former=1),
    "kind": choice("a", ("", "a", "b"), "which"),
    "inner": {"weight": number(1.0, "(0, inf)", "a weight")},
}


@given(FLOATS, FLOATS, FLOATS, st.booleans(), st.booleans())
def test_an_interval_holds_what_lies_between_its_bounds(low, high, value, closed_below, closed_above):
    written = f"{'[' if closed_below else '('}{low!r}, {high!r}{']' if closed_above else ')'}"
    if not low < high:
        with pytest.raises(ValueError, match="is not an interval"):
            Interval.read(written)
        return
    within = low < value < high or (closed_below and value == low) or (closed_above and value == high)
    assert (value in Interval.read(written)) == (within and math.isfinite(value))


@pytest.mark.parametrize("written", ["0, 1", "{0, 1}", "[1, 0]", "[nan, 1]"])
def test_what_is_no_interval_is_refused(written):
    with pytest.raises(ValueError, match=r"is not an interval|could not convert"):
        Interval.read(written)


@pytest.mark.parametrize(
    ("setting", "accepted"),
    [
        (number(0.5, "[0, 1]", ""), [0, 1, 0.0, 0.5, 1.0]),
        (number(0.5, "(0, inf)", ""), [1, 2, 7, 0.5, 1.0, 1.5]),
        (whole(1, "[0, 2]", ""), [0, 1, 2]),
        (flag(True, ""), [True, False]),
        (choice("a", ("", "a"), ""), ["", "a"]),
        (text("", ""), ["", "a"]),
        (wholes((), "[1, 5]", "", empty=True), [(), (1,)]),
        (wholes((1,), "[1, 5]", ""), [(1,)]),
        (names((), ""), [()]),
        (factors({}, "[0, inf)", ""), [{}]),
    ],
)
def test_each_kind_accepts_its_values_alone(setting, accepted):
    """A bool is no number, no number is NaN or infinite, a whole number is not written as a fraction, and a list is no tuple."""
    found = [value for value in TRIED if setting.accepts(value)]
    assert [(type(value), value) for value in found] == [(type(value), value) for value in TRIED if _among(value, accepted)]


def _among(value, accepted):
    return any(type(value) is type(one) and value == one for one in accepted)


def test_tuples():
    ascending, three = wholes((1,), "[1, inf)", "", order="ascending"), wholes((1, 1, 1), "[0, inf)", "", length=3)
    different = wholes((), "[0, inf)", "", order="different", empty=True)
    assert ascending.accepts((1, 2, 9)) and not any(map(ascending.accepts, [(2, 1), (1, 1), (0, 1), (1, 2.0), (1, True), ()]))
    assert three.accepts((3, 1, 2)) and not any(map(three.accepts, [(1, 2), (1, 2, 3, 4), (1, 2, -3), ()]))
    assert different.accepts((2, 0, 1)) and different.accepts(()) and not different.accepts((1, 0, 1))
    assert names(("a",), "").accepts(("a", "b")) and not any(map(names((), "").accepts, [("a", "a"), ("",), (1,), "ab"]))


def test_dictionaries_of_numbers():
    setting = factors({}, "[0, inf)", "")
    assert setting.accepts(ConfigDict({"head": 10.0, "text": 0})) and setting.accepts({"head": 1})
    assert not any(map(setting.accepts, [{"head": -1.0}, ConfigDict({"head": math.nan}), {"head": "1"}, {"head": True}, (1,)]))


def test_numbers_of_numpy_are_numbers():
    assert number(1.0, "[0, 2]", "").accepts(np.float32(1.5)) and whole(1, "[0, 2]", "").accepts(np.int64(2))
    assert not whole(1, "[0, 2]", "").accepts(np.float32(1)) and not number(1.0, "[0, 2]", "").accepts(np.float64("nan"))


def test_what_is_wrong_names_setting_value_range_and_meaning():
    good = ConfigDict({"rate": 0.1, "layers": 2, "kind": "", "inner": {"weight": 1}})
    assert declare.problems("toy", good, SECTION) == []
    wrong = {"rate": 1.0, "layers": True, "kind": "c", "inner": {"weight": 0, "wieght": 1}, "layer": 2}
    assert declare.problems("toy", wrong, SECTION) == [
        "toy.rate=1.0 is not a number in [0, 1): a rate",
        "toy.layers=True is not a whole number of at least 1: how deep",
        "toy.kind='c' is not one of '', a, b: which",
        "toy.inner.weight=0 is not a number above 0: a weight",
        "toy.inner.wieght: there is no such setting; did you mean weight?",
        "toy.layer: there is no such setting; did you mean layers?",
    ]
    assert declare.problems("toy", {}, SECTION)[0] == "toy.rate is missing: a number in [0, 1) (a rate)"
    assert declare.problems("toy", 5, SECTION) == ["toy=5 is not a section with the settings rate, layers, kind, inner"]
    assert declare.problems("toy", {**good, "zzz": 1}, SECTION) == [
        "toy.zzz: there is no such setting; there are inner, kind, layers, rate"
    ]


def test_one_wrong_setting_is_one_line_and_several_are_a_line_each():
    values = {"rate": 0.1, "layers": 0, "kind": "a", "inner": {"weight": 1.0}}
    with pytest.raises(SettingError, match=r"^toy.layers=0 is not a whole number of at least 1: how deep$"):
        declare.require("toy", values, SECTION)
    with pytest.raises(SettingError, match=r"^2 settings are wrong:\n  toy.rate=-1 .*\n  toy.layers=0 .*$"):
        declare.require("toy", {**values, "rate": -1}, SECTION)


def test_defaults_are_accepted_and_lacking_values_are_what_was_computed_before():
    defaults = declare.defaults(SECTION)
    assert defaults == {"rate": 0.1, "layers": 2, "kind": "a", "inner": {"weight": 1.0}} and not declare.problems("toy", defaults, SECTION)
    old = MappingProxyType({"rate": 0.5, "dropped": 3})
    assert declare.complete(old, SECTION) == {"rate": 0.5, "dropped": 3, "layers": 1, "kind": "a", "inner": {"weight": 1.0}}


def test_a_divisor_that_is_none_names_both_settings():
    declare.must_divide("a.heads", 4, "a.width", 64)
    for heads in (5, 0, -4):
        with pytest.raises(SettingError, match=rf"^a.heads={heads} does not divide a.width=64$"):
            declare.must_divide("a.heads", heads, "a.width", 64)
