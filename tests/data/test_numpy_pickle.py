"""NumPy's numbers in a pickle are numbers, whatever protocol wrote them, and nothing that the pickle names is called."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mmre_jax.data.numpy_pickle import Array
from mmre_jax.data.readers import mnre
from mmre_jax.data.torch_pickle import PickleError, read_dict

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
NUMBERS = st.sampled_from(["f2", "f4", ">f4", "f8", "i1", "i4", ">i8", "u1", "u8", "?"])


@given(NUMBERS.flatmap(lambda code: arrays.arrays(code, arrays.array_shapes(max_dims=3, max_side=3))), st.sampled_from(PROTOCOLS))
def test_arrays_and_scalars_come_back_as_lists_and_numbers(tmp_path_factory, array, protocol):
    path = tmp_path_factory.mktemp("a") / "a.pth"
    row = array.ravel()
    value = {"c": array, "f": np.asfortranarray(array), "rows": [list(array), tuple(row)], "one": row[0]}
    path.write_bytes(pickle.dumps(value, protocol))
    found = read_dict(path)
    wanted = {
        "c": array.tolist(),
        "f": array.tolist(),
        "rows": [array.tolist(), tuple(array.ravel().tolist())],
        "one": array.ravel()[0].item(),
    }
    assert repr(found) == repr(wanted)  # NaN is not NaN


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_boxes_that_numpy_computed(tmp_path, protocol):
    box = np.array([0.5, 0.5, 0.5, 1.0, 0.25], np.float32)
    (tmp_path / "a.pth").write_bytes(
        pickle.dumps({"a_crop_0.jpg": box, "a_crop_1.jpg": tuple(box), "b_crop_0.jpg": box.tolist()}, protocol)
    )
    boxes, dropped = mnre.read_boxes(tmp_path / "a.pth")
    assert not dropped and set(boxes.values()) == {(0.25, 0.0, 0.75, 1.0)} and len(boxes) == 3


@pytest.mark.parametrize(
    "value", [np.array([print], object), np.array(["a"]), np.datetime64("2020-01-01"), np.complex64(1), np.zeros(2, [("a", "f4")])]
)
def test_what_is_no_number_is_refused(tmp_path, value):
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": value}, 2))
    with pytest.raises(PickleError, match=r"a\.pth: "):
        read_dict(tmp_path / "a.pth")


def test_a_shape_that_needs_no_bytes_fills_no_memory():
    class Plain:
        def numbers(self, data):
            return np.frombuffer(data, "u1")

    array = Array()
    array.__setstate__((1, (10**12, 0), Plain(), False, b""))
    assert array.value == []


def test_other_names_of_numpy_are_refused(tmp_path):
    for name in (np.load, np.fromfile, np.random.default_rng):
        (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": name}))
        with pytest.raises(PickleError, match="names numpy"):
            read_dict(tmp_path / "a.pth")
