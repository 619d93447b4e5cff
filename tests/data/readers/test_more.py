"""MORE: a synthetic folder in the published layout, grouping against a second implementation, `none` kept or dropped, damage."""

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmre_jax.data.decode import PictureError
from mmre_jax.data.readers import more
from mmre_jax.records import Mention, RecordError, Triple

REL2ID = {"none": 0, "holds": 2, "wears": 1}
WORDS = ["Ada", "L", "meets", "Ben"]
LEFT, LEFT_XYXY = [0.25, 0.5, 0.5, 1.0], (0.0, 0.0, 0.5, 1.0)


def fact(head=(0, 2), relation="holds", box=LEFT, image="1.jpg", token=WORDS, **changes):
    tail = {"name": "object 1", "box": box}
    return {"token": token, "h": {"name": "h", "pos": list(head)}, "t": tail, "img_id": image, "relation": relation, **changes}


def write(root, facts, split="valid", form=repr):
    (root / "txt").mkdir(exist_ok=True)
    path = root / "txt" / f"{split}.txt"
    path.write_text("".join((value if isinstance(value, str) else form(value)) + "\n" for value in facts))
    return path


@pytest.fixture
def root(tmp_path):
    (tmp_path / "rel2id.json").write_text(json.dumps(REL2ID))
    write(
        tmp_path,
        [
            fact(),
            fact(image="2.jpg", relation="none"),
            fact(head=(3, 4), relation="wears", box=[0.9, 0.5, 0.4, 0.5]),
            fact(),
            fact(relation="none", box=[0.5, 0.5, 0.1, 0.1]),
            fact(relation="wears", box=[1.6, 0.5, 0.2, 0.2]),
            fact(token=["Ada", "L"]),
        ],
    )
    return tmp_path


def test_facts_become_samples(root):
    first, second, third = more.read(root, "val")
    assert first.words == second.words == tuple(WORDS) and third.words == ("Ada", "L")
    ada, ben = Mention(0, 2), Mention(3, 4)
    assert first.mentions == (ada, ben)
    assert first.triples[0] == Triple(ada, "holds", LEFT_XYXY)
    assert first.triples[1].mention == ben and first.triples[1].box == pytest.approx((0.7, 0.25, 1.0, 0.75))
    assert len(first.triples) == 2
    assert second.mentions == (ada,) and not second.triples
    assert first.image == third.image == str(root / "img_org" / "valid" / "1.jpg")
    assert [record.id for record in (first, second, third)] == ["more-val-0", "more-val-1", "more-val-2"]
    assert third.origin == f"{root / 'txt' / 'valid.txt'}:7"


def test_none_is_a_relation_on_demand(root):
    assert more.relations(root) == ("wears", "holds")
    assert more.relations(root, published=True) == ("none", "wears", "holds")
    labels = [[triple.label for triple in record.triples] for record in more.read(root, "val", published=True)]
    assert labels == [["holds", "wears", "none"], ["none"], ["holds"]]


def test_report_says_what_is_dropped(root):
    found = {"records": 3, "mentions": 4, "records_without_triples": 1, "facts": 7, "boxes_clipped": 1, "facts_outside": 1}
    assert more.report(root, "val") == {**found, "triples": 3, "none_facts": 2, "facts_repeated": 1}
    kept = {**found, "records_without_triples": 0, "triples": 5, "none_facts": 0, "facts_repeated": 1}
    assert more.report(root, "val", published=True) == kept


@given(
    st.lists(
        st.builds(
            fact,
            head=st.sampled_from([(0, 1), (1, 2), (0, 2)]),
            relation=st.sampled_from(sorted(REL2ID)),
            box=st.sampled_from([LEFT, [0.5, 0.5, 0.2, 0.2], [1.8, 0.5, 0.2, 0.2]]),
            image=st.sampled_from(["1.jpg", "2.jpg"]),
            token=st.sampled_from([WORDS, WORDS[:2]]),
        ),
        max_size=12,
    ),
    st.booleans(),
    st.sampled_from([repr, json.dumps]),
)
def test_no_fact_is_lost(tmp_path_factory, facts, published, form):
    root = tmp_path_factory.mktemp("more")
    (root / "rel2id.json").write_text(json.dumps(REL2ID))
    write(root, facts, "test", form)
    records, found = more.read(root, "test", published=published), more.report(root, "test", published=published)
    held = {
        (f["img_id"], tuple(f["token"]), tuple(f["h"]["pos"]), f["relation"], tuple(f["t"]["box"]))
        for f in facts
        if f["t"]["box"][0] < 1.5 and (published or f["relation"] != "none")
    }
    assert found["triples"] == len(held) == sum(len(record.triples) for record in records)
    assert len(records) == len({(f["img_id"], tuple(f["token"])) for f in facts})
    assert found["facts"] == len(facts) == found["triples"] + found["none_facts"] + found["facts_outside"] + found["facts_repeated"]


def test_the_validation_split_can_be_merged(root):
    write(root, [fact(image="9.jpg")], "train")
    assert [record.id for record in more.read(root, "train")] == ["more-train-0"]
    merged = more.read(root, "train", merge_val=True)
    assert [record.id for record in merged] == [f"more-train-{n}" for n in range(4)]
    assert [record.triples for record in merged[1:]] == [record.triples for record in more.read(root, "val", merge_val=True)]
    assert [path.name for path in more.files(root, "train", merge_val=True)] == ["train.txt", "valid.txt"]


def test_boxes_may_lie_in_their_dictionary(root):
    (root / "ent_valid_dict.pth").write_bytes(pickle.dumps({"1.jpg": {"object 1": (*LEFT, 0.5)}}))
    write(root, [fact(t={"name": "object 1"})])
    (record,) = more.read(root, "val")
    assert record.triples[0].box == LEFT_XYXY
    write(root, [fact(t={"name": "object 2"})])
    with pytest.raises(RecordError, match=r"valid.txt:1, field 't.name' = 'object 2', in the dictionary of boxes: expected"):
        more.read(root, "val")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{'token': ['a'", "neither a JSON object nor a Python dictionary"),
        ("__import__('os').mkdir('x')", "neither a JSON object nor a Python dictionary"),
        ("[1]", "no field 'token'"),
        (fact(token=[]), "field 'token': expected a list of words"),
        (fact(head=(0, 9)), r"field 'h.pos': span \[0, 9\) does not lie inside the record's 4 words"),
        (fact(h={"pos": [1]}), r"field 'h.pos': expected \[start, end\]"),
        (fact(h=3), "field 'h': found 3, of type int"),
        (fact(relation="eats"), "field 'relation': unknown relation 'eats'; known are .*'holds', 'none', 'wears'"),
        (fact(box=[10, 20, 300, 40]), r"field 't.box': expected \(cx, cy, w, h\), divided by the picture's size, found \[10, 20"),
        (fact(box=[0.1, 0.1, 0.1]), "field 't.box': expected"),
        (fact(box="left"), "field 't.box': expected"),
        (fact(t={"box": None}), "field 't': no field 'name'"),
        (fact(t={"name": "x"}), "'t.name' = 'x', in the dictionary of boxes: expected .* found None"),
        (json.dumps(fact(box=[0.1, 0.1, 0.1, float("nan")])), r"field 't.box\[3\]': nan is not a finite number"),
        (fact(image=7), "field 'img_id': found 7, of type int"),
    ],
)
def test_damaged_line(root, value, message):
    path = write(root, [fact(), value])
    with pytest.raises(RecordError, match=rf"{path}:2.*{message}"):
        more.read(root, "val")


def test_missing_files(root):
    with pytest.raises(RecordError, match="no txt/test.txt; expected a folder that holds txt/train.txt, .*there is: rel2id.json, txt"):
        more.read(root, "test")
    with pytest.raises(RecordError, match="split is one of train, val, test, found 'valid'"):
        more.read(root, "valid")
    write(root, [fact(image="../../../x.jpg")])
    with pytest.raises(PictureError, match="valid.txt:1, field 'img_id'"):
        more.read(root, "val")
    (root / "rel2id.json").write_text('{"none": 0, "a": 2}')
    with pytest.raises(RecordError, match="rel2id.json: expected relation names with the ids 0, 1"):
        more.read(root, "val")
    (root / "rel2id.json").write_text("{")
    with pytest.raises(RecordError, match="rel2id.json: not a JSON file"):
        more.relations(root)
    (root / "rel2id.json").unlink()
    with pytest.raises(RecordError, match="no rel2id.json; expected a folder that holds .*rel2id.json and img_org/"):
        more.read(root, "val")


def test_a_mark_at_the_head_of_a_file_is_no_text(root, mark_all):
    before = more.read(root, "val")
    assert mark_all(root) == 2
    assert more.read(root, "val") == before


@pytest.mark.parametrize("form", [repr, json.dumps])
def test_half_a_character_is_told_by_line_and_field(root, form):
    path = write(root, [fact(), fact(t={"name": "\ud83d", "box": LEFT})], form=form)
    with pytest.raises(RecordError, match=rf"{path}:2, field 't.name': half of a surrogate pair"):
        more.read(root, "val")
