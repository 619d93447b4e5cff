"""Lines whose detected regions are replaced: the value is what it should be, and the rest of the text is untouched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.readers.line_edit import with_detected
from mmre_jax.records import RecordError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
REGIONS = st.lists(
    st.fixed_dictionaries(
        {"box": st.just([0.1, 0.2, 0.3, 0.4])}, optional={"source": st.sampled_from(["gold", "grounded", "detected", None])}
    ),
    max_size=4,
)
NEW = [json.dumps({"box": [0.0, 0.0, 0.5, 0.5], "source": "detected", "label": "a"}), json.dumps({"box": [0.5, 0.5, 1, 1]})]


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.none() | REGIONS, st.sampled_from([None, 0, 2]), st.booleans(), st.integers(0, 2))
def test_only_detected_regions_change(value, regions, indent, escaped, count):
    value.pop("regions", None)
    full = value if regions is None else {**value, "regions": regions}
    line = " " + json.dumps(full, indent=indent, ensure_ascii=escaped) + "\r\n"
    found = with_detected(line, NEW[:count], "here")
    kept = [region for region in regions or [] if region.get("source") in ("gold", "grounded")]
    expected = {**value, "regions": [*kept, *map(json.loads, NEW[:count])]}
    assert json.loads(found) == (value if regions is None and not count else expected)
    before, _, _ = line.partition('"regions"' if regions is not None else "\0")
    assert found.startswith(before.rstrip("}\r\n ")) and found.endswith("}\r\n")
    assert with_detected(found, NEW[:count], "here") == found


def test_by_hand():
    line = '{"text" : "a",  "regions":[ {"box":[0,0,1,1],"source" : "gold"} ,{"box":[0,0,1,1]}], "meta": {"regions": 1e2}}'
    expected = '{"text" : "a",  "regions":[{"box":[0,0,1,1],"source" : "gold"}, X], "meta": {"regions": 1e2}}'
    assert with_detected(line, NEW[:1], "") == expected.replace("X", NEW[0])
    assert with_detected('{"text": "a" }\n', NEW[:1], "") == f'{{"text": "a", "regions": [{NEW[0]}] }}\n'
    assert with_detected('{ "text": "a" }\n', [], "") == '{ "text": "a" }\n'
    with pytest.raises(RecordError, match="posts.jsonl:3: not a JSON object"):
        with_detected("[1]", [], "posts.jsonl:3")
