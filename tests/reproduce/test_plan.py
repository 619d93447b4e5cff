"""A run is known by its configuration: rows and tables that ask for the same one share it."""

import dataclasses
import pathlib
import sys

import pytest

from mmre_jax.reproduce import plan
from mmre_jax.reproduce.table import Family, Place, row

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stand_in import F1, ONE, OTHER, TABLE, load, planned  # noqa: E402


def by_label(found):
    return {each.row.label: each for each in found}


def test_rows_of_one_configuration_share_a_run():
    found = by_label(planned(TABLE))
    assert list(found) == ["both: One", "both: w/o part", "both: One, shuffled", "Two"], "Three is run nowhere"
    assert found["both: One"].name == found["both: One, shuffled"].name == planned(OTHER)[0].name
    assert len({each.name for each in found.values()}) == 3
    assert found["both: One"].score != found["both: One, shuffled"].score, "but not a score"


def test_a_folder_tells_what_is_run_and_changes_with_every_setting():
    names = {planned(OTHER)[0].name, planned(OTHER, seeds=(1,))[0].name, planned(OTHER, overrides={"train.epochs": "2"})[0].name}
    assert len(names) == 3 and all(name.startswith("one_quickstart_") for name in names)


def test_there_is_a_run_a_seed_and_one_of_what_is_not_trained():
    counted = dataclasses.replace(OTHER, rows=(row(F1, "counts", (), ONE, how="counts"),))
    assert [each.seed for each in planned(OTHER, seeds=(3, 1))] == [3, 1]
    assert [each.seed for each in planned(counted, seeds=(3, 1))] == [3]


def test_what_only_the_user_knows_is_asked_for():
    (found,) = planned(OTHER, scale="paper")
    assert found.config is None and found.places == ("bert", "mnre")
    assert found.lacking == "needs --place=bert=FOLDER --place=mnre=FOLDER"
    (given,) = planned(OTHER, scale="paper", places={"bert": "/b", "mnre": "/m"})
    assert (given.config.text.weights, given.config.data.root) == ("/b", "/m") and not given.lacking
    (overridden,) = planned(OTHER, scale="paper", overrides={"text.weights": "/c", "data.root": "/n"})
    assert (overridden.config.text.weights, overridden.config.data.root) == ("/c", "/n")


def test_a_configuration_that_is_not_there_does_not_lose_the_other_rows():
    broken = dataclasses.replace(TABLE, rows=(row(F1, "gone", (), Family("missing", {"small": "quickstart"})), *TABLE.rows))
    found = by_label(planned(broken))
    assert "there is no such file" in found["gone"].lacking and found["both: One"].config is not None


def test_rows_that_are_not_run_say_why():
    assert plan.not_run(TABLE, "small") == {"Three": "its <script>code</script> was never released"}
    assert plan.not_run(TABLE, "paper")["Two"] == "not at scale paper; at small and minilm"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train.epoch", "2", "--config.train.epoch: there is no such setting"),
        ("train.epochs", "two", "--config.train.epochs=two is not a value"),
        ("train.epochs", "2.5", "--config.train.epochs=2.5: such as 4 is expected"),
        ("train.epochs", "-2", r"--config.train.epochs=-2: train.epochs is a whole number of at least 1"),
    ],
)
def test_overrides_are_settings_of_their_type(name, text, said):
    with pytest.raises(ValueError, match=said):
        planned(TABLE, overrides={name: text})


def test_overrides_are_read_as_flags_are():
    config = load("configs/one.py:quickstart")
    assert plan.typed("3", "train.lr", config) == 3.0 and plan.typed("/a b", "data.root", config) == "/a b"


def test_what_is_asked_for_is_checked():
    with pytest.raises(ValueError, match="no scale 'large': small, minilm, paper"):
        plan.Asked("large")
    with pytest.raises(ValueError, match="different whole numbers, at least one, found 1, 1"):
        plan.Asked("small", (1, 1))
    with pytest.raises(ValueError, match=r"--seeds=99999999999: train.seed is a whole number in"):
        plan.Asked("small", (1, 99999999999))
    for name in ("train.seed", "train.seeds"):
        with pytest.raises(ValueError, match=f"--config.{name}: runs of several seeds would be one and the same"):
            plan.Asked("small", overrides={name: "1"})
    with pytest.raises(ValueError, match="--config.train.max_steps: no run would ever end"):
        plan.Asked("small", overrides={"train.max_steps": "2"})
    with pytest.raises(ValueError, match=r"--config.system.part: what all runs are to have is of data, text"):
        plan.Asked("small", overrides={"system.part": "False"})


def test_a_change_of_a_setting_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match=r"system.parts: there is no such setting"):
        planned(dataclasses.replace(OTHER, rows=(row(F1, "One", (), ONE, {"system.parts": False}),)))


def test_rows_are_chosen_by_name_or_with_their_group():
    found = planned(TABLE, OTHER)
    for names, labels in (
        (["Two"], ["Two"]),
        (["both: One"], ["both: One"]),
        (["One"], ["both: One", "One"]),
        ([], [each.row.label for each in found]),
    ):
        assert [each.row.label for each in plan.of_rows(found, (TABLE, OTHER), names, "small")] == labels
    for name, said in (("Tow", "there is no such row; did you mean Two?"), ("Three", "is not run: its <script>code</script> was never")):
        with pytest.raises(ValueError, match=f"--row={name}:? {said}"):
            plan.of_rows(found, (TABLE, OTHER), [name], "small")


def test_an_override_never_makes_rows_alike_that_a_table_tells_apart():
    shares = dataclasses.replace(OTHER, rows=tuple(row(F1, f"{x:.0%}", (), ONE, {"train.lr": x}) for x in (0.5, 1.0)))
    for settings in ({"train.epochs": "2"}, {}):
        assert len({each.name for each in planned(shares, overrides=settings)}) == 2
    with pytest.raises(ValueError, match=r"--config.train.lr=3: hvformer.figure98 tells '50%' and '100%' apart by that"):
        planned(shares, overrides={"train.lr": "3"})
    weights = [row(F1, place, (), ONE, paper={"text.weights": Place(place)}) for place in ("bert", "xlmr")]
    with pytest.raises(ValueError, match="--config.text.weights=/b: .* 'bert' and 'xlmr'"):
        planned(dataclasses.replace(OTHER, rows=tuple(weights)), scale="paper", overrides={"text.weights": "/b"})


def test_runs_that_wait_for_different_places_are_different():
    weights = [row(F1, place, (), ONE, paper={"text.weights": Place(place)}) for place in ("bert", "xlmr")]
    found = planned(dataclasses.replace(OTHER, rows=tuple(weights)), scale="paper", places={"mnre": "/m"})
    assert len({each.name for each in found}) == 2 and all(each.config is None for each in found)
    assert plan.places(TABLE, plan.Asked("paper", places={"bert": "/b"}), load) == {"bert", "mnre"}


def test_a_label_says_its_group_once():
    assert row(F1, "Two", (), ONE, group="One").label == "One: Two" and row(F1, "One, 5%", (), ONE, group="One").label == "One, 5%"
