"""QEOT's figures show what launch.extract draws of the same record."""

import numpy as np
import pytest

import mmre_jax
from mmre_jax import analyse
from mmre_jax.analysis.figures import queries
from mmre_jax.analysis.query_maps import query_mapper

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def view(untrained):
    return analyse.view(untrained["triples"])


def test_maps_are_those_of_the_extractor(view, untrained):
    selected, looked = queries.selective(view), queries.by_query(view)
    assert set(selected.pages) == set(looked.pages) == {"0", "1"}
    extractor = mmre_jax.load(untrained["triples"])
    maps = query_mapper(extractor.job, extractor.predictor.devices.first(extractor.variables))(view.split.records[1])
    np.testing.assert_allclose(selected.arrays["attention_1"], maps.selected, atol=1e-5)
    np.testing.assert_allclose(looked.arrays["attention_1"], maps.queries, atol=1e-5)
    assert looked.facts["records"][1]["tokens"] == list(maps.tokens) and looked.facts["axes"][0] == "query"


def test_queries_are_not_looked_for_where_there_are_none(trained):
    with pytest.raises(ValueError, match="'query_attention' shows queries that attend to the picture, which this checkpoint of 'hvformer'"):
        analyse.draw(analyse.view(trained), "query_attention")
