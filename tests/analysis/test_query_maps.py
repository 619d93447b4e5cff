"""What is drawn of a QEOT is what it attended to: distributions over tokens and cells, each query beside its own triple."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

import mmre_jax
from configs import qeot
from mmre_jax.analysis.annotate import FAINT
from mmre_jax.analysis.query_maps import QueryMaps, listed_as, query_mapper
from mmre_jax.analysis.triple_plots import triples_figure
from mmre_jax.data import datasets
from mmre_jax.data.readers import scenes
from mmre_jax.records import Mention, Record, Triple
from mmre_jax.training.job import new_job
from mmre_jax.training.splits import make_split
from mmre_jax.training.starting import initial_variables

pytestmark = pytest.mark.thorough

RECORD = scenes.read("triples", "test", 1)[0]


@pytest.fixture(scope="module")
def extractor(untrained):
    return mmre_jax.load(untrained["triples"])


@pytest.fixture(scope="module")
def mapper(extractor):
    return query_mapper(extractor.job, extractor.predictor.devices.first(extractor.variables))


def test_maps_are_distributions_and_queries_say_what_is_extracted(extractor, mapper):
    maps = mapper(RECORD)
    queries = extractor.job.config.system.queries
    assert maps.tokens[0] == "[CLS]" and maps.tokens[-1] == "[SEP]" and set(RECORD.words) <= set(maps.tokens)
    assert maps.photo.shape == (64, 64, 3) and maps.grid[0] == maps.grid[1]
    assert maps.selected.shape == (maps.grid[0] ** 2, len(maps.tokens)) and maps.queries.shape == (queries, *maps.grid)
    np.testing.assert_allclose(maps.selected.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(maps.queries.sum(axis=(1, 2)), 1.0, atol=1e-5)
    found = extractor.extract_records([RECORD])[0].triples
    said = {(t.mention.span, t.label) for t in maps.found if t is not None}
    assert len(maps.found) == queries and {(t.mention.span, t.label) for t in found} <= said
    assert all(listed_as(triple, found) is not None for triple in maps.found if triple is not None)
    assert set(maps.figures(RECORD, found, 0.5)) == {"selective", "queries"}


@pytest.mark.parametrize(("level", "cells"), [(0, 8), (2, 2)])
def test_cells_are_those_of_the_level_that_is_read_of_a_pyramid(level, cells):
    """32 pixels at strides 4, 8 and, at the coarsest level, 16; also where the queries read the text before them."""
    config = qeot.get_config("quickstart_rcnn").unlock()
    config.text.update({"width": 16, "layers": 1, "heads": 2, "mlp": 32})
    config.vision.update({"side": 32, "stem": 8, "groups": 2, "pyramid_width": 8, "level": level})
    config.system.update({"memory": "both", "heads": 2, "mlp": 16, "decoder_layers": 1})
    config.data.counts = (8, 4, 4)
    train = datasets.open_records(config.data, "train")
    job = new_job(config.lock(), train)
    maps = query_mapper(job, initial_variables(job, make_split(job, train)))(RECORD)
    assert maps.grid == (cells, cells) and maps.selected.shape == (cells**2, len(maps.tokens))
    assert maps.queries.shape == (config.system.queries, cells, cells) and (maps.queries.sum(axis=(1, 2)) < 1).all(), "words are read too"
    assert set(maps.figures(RECORD, (), 0.5)) == {"selective", "queries"}


def test_the_photo_keeps_its_proportions(mapper, tmp_path):
    Image.new("RGB", (900, 300), "red").save(tmp_path / "wide.png")
    assert mapper(dataclasses.replace(RECORD, image=str(tmp_path / "wide.png"))).photo.shape == (213, 640, 3)


def test_queries_have_the_numbers_and_colours_of_the_triples_figure():
    ann, bob, low = Mention(0, 1), Mention(2, 3), (0.1, 0.8, 0.9, 0.95)
    best, other = Triple(ann, "holds", (0.0, 0.0, 0.5, 0.5), 0.9), Triple(bob, "near", low, 0.6)
    again = dataclasses.replace(best, box=(0.0, 0.0, 0.5, 0.51), score=0.7)  # merged into the best
    record = Record("a", ("Ann", "and", "Bob"), triples=(other, Triple(Mention(1, 2), "far", low)))
    predicted = (best, other)
    maps = QueryMaps(("Ann",), np.zeros((8, 8, 3), np.uint8), (2, 2), None, np.ones((4, 2, 2)), (None, other, again, best))
    panels = maps.panels(record, predicted, 0.5)
    expected = ["1  Ann: holds  0.90\nquery 4", "2  Bob: near  0.60\nquery 2", "as 1  Ann: holds  0.70\nquery 3", "no triple\nquery 1"]
    assert [panel.caption for panel in panels] == expected
    figure = triples_figure(record, predicted, maps.photo, record.triples)
    colours = {text.get_text(): to_hex(text.get_color()) for text in figure.findobj(Text) if text.get_text() in ("1", "2")}
    assert [panel.colour for panel in panels] == [colours["1"], colours["2"], colours["1"], FAINT]
    assert [(panel.predicted, panel.gold) for panel in panels[:2]] == [(best.box, None), (low, low)]
    assert any(text.get_text().startswith("Ann: holds  0.90") for text in figure.findobj(Text))


def test_what_has_no_maps_is_refused(mapper, untrained):
    with pytest.raises(ValueError, match="no picture to look at"):
        mapper(dataclasses.replace(RECORD, image=None))
    with pytest.raises(ValueError, match="is QEOT's: this is a checkpoint of 'ifaformer'"):
        query_mapper(mmre_jax.load(untrained["entities"]).job, {})
