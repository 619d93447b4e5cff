"""What is drawn of a QEOT is what it attended to: distributions over tokens and cells, each query beside its own triple."""

import dataclasses

import numpy as np
import pytest

import mmre_jax
from mmre_jax.analysis.query_maps import query_maps
from mmre_jax.data.readers import scenes

RECORD = scenes.read("triples", "test", 1)[0]


@pytest.fixture(scope="module")
def extractor(untrained):
    return mmre_jax.load(untrained["triples"])


def maps_of(extractor, record):
    return query_maps(extractor.job, extractor.predictor.devices.first(extractor.variables), record)


def test_maps_are_distributions_and_queries_say_what_is_extracted(extractor):
    maps = maps_of(extractor, RECORD)
    queries = extractor.job.config.system.queries
    assert maps.tokens[0] == "[CLS]" and maps.tokens[-1] == "[SEP]" and set(RECORD.words) <= set(maps.tokens)
    assert maps.photo.shape == (32, 32, 3) and maps.grid[0] == maps.grid[1]
    assert maps.selected.shape == (maps.grid[0] ** 2, len(maps.tokens)) and maps.queries.shape == (queries, *maps.grid)
    np.testing.assert_allclose(maps.selected.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(maps.queries.sum(axis=(1, 2)), 1.0, atol=1e-5)
    found = extractor.extract_records([RECORD])[0].triples
    said = {(t.mention.span, t.label) for t in maps.found if t is not None}
    assert len(maps.found) == queries and {(t.mention.span, t.label) for t in found} <= said
    figures = maps.figures(RECORD, 0.5)
    assert set(figures) == {"selective", "queries"}


def test_what_has_no_maps_is_refused(extractor, untrained):
    with pytest.raises(ValueError, match="no picture to look at"):
        maps_of(extractor, dataclasses.replace(RECORD, image=None))
    with pytest.raises(ValueError, match="is QEOT's: this is a checkpoint of 'ifaformer'"):
        maps_of(mmre_jax.load(untrained["entities"]), RECORD)
