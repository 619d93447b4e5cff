"""launch.graph, as it is typed."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmre_jax.bulk import posts
from mmre_jax.bulk.place import Source, Tally

sys.path.append(str(Path(__file__).parent))
from typed import message, run  # noqa: E402

rdflib = pytest.importorskip("rdflib", reason="the extra `graph` is not installed")
FILES = ["graph.ttl", "graph.jsonld", "graph.trig", "graph.graphml", "nodes.csv", "edges.csv", "graph.html"]
POST = {
    "id": "1",
    "text": "Ada meets Grace",
    "relations": [
        {"head": {"start": 0, "end": 1, "type": "PER"}, "tail": {"start": 2, "end": 3, "type": "PER"}, "label": "peer", "score": 0.5}
    ],
}


def lines(path, *records):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def test_every_format_of_two_files(tmp_path):
    one = lines(tmp_path / "one" / "extracted.jsonl", POST, {**POST, "id": "2", "text": "ADA meets @grace"})
    lines(
        tmp_path / "two" / "extracted.jsonl", {**POST, "relations": [], "mentions": [{"start": 0, "end": 1, "type": "PER", "score": 0.9}]}
    )
    (tmp_path / "ids.csv").write_text("surface,type,id\nada,PER,http://www.wikidata.org/entity/Q7259\n")
    (tmp_path / "relations.toml").write_text(
        '[relations.peer]\nsymmetric = true\nproperty = "http://xmlns.com/foaf/0.1/knows"\n[relations.x]\n'
    )
    options = [f"--ids={tmp_path / 'ids.csv'}", f"--relations={tmp_path / 'relations.toml'}", f"--out={tmp_path / 'graph'}"]
    ended = run("graph", one, tmp_path / "two", *options)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [str(tmp_path / "graph" / name) for name in FILES]
    assert "2 posts, 2 entities, 0 parts of pictures, 1 statements" in ended.stderr and "in no statement: x" in ended.stderr
    found = rdflib.Graph().parse(tmp_path / "graph" / "graph.ttl")
    [(subject, score)] = found.query(
        "SELECT ?a ?score { ?a foaf:knows ?b . ?s rdf:object ?b ; <http://www.w3.org/2005/11/its/rdf#taConfidence> ?score }"
    )
    assert (str(subject), score.toPython()) == ("http://www.wikidata.org/entity/Q7259", 0.75)


def test_some_formats_scores_and_options(tmp_path):
    file = lines(tmp_path / "extracted.jsonl", POST)
    ended = run("graph", file, "--formats=csv,turtle", "--min_score=0.6", "--base=urn:mine:", f"--out={tmp_path / 'graph'}")
    assert ended.returncode == 0 and sorted(path.name for path in (tmp_path / "graph").iterdir()) == ["edges.csv", "graph.ttl", "nodes.csv"]
    assert "0 statements" in ended.stderr and "not in the graph: 1 below the lowest score" in ended.stderr
    assert "urn:mine:entity/PER:ada" in (tmp_path / "graph" / "nodes.csv").read_text()


def test_an_empty_relation_is_no_statement_whatever_it_is_called(tmp_path):
    """As the checkpoint calls it, of which summary.json tells; of anyone's lines one that looks empty is told; what is typed is taken."""
    labels = ("peer", "no_relation", "None")
    post = {**POST, "relations": [{**POST["relations"][0], "label": label} for label in labels]}
    file = lines(tmp_path / "found" / "extracted.jsonl", post)
    tally, source = Tally(), Source(SimpleNamespace(task="relation", none="no_relation", calibrations=dict), posts.Given("x", ()), None)

    def graph(*options):
        ended = run("graph", file.parent, "--formats=csv", f"--out={tmp_path / 'graph'}", *options)
        assert ended.returncode == 0, ended.stderr
        return ended.stderr, (tmp_path / "graph" / "edges.csv").read_text()

    said, edges = graph()
    assert "looks empty: 1 'no_relation'; if it says that there is none: --none=None,no_relation" in said and "no_relation" in edges
    (file.parent / "summary.json").write_text(json.dumps(source.summary(tally)))
    said, edges = graph()
    assert "not in the graph: 1 labelled no_relation" in said and "no_relation" not in edges
    assert "looks empty: 1 'None'; if it says that there is none: --none=no_relation,None" in said
    said, edges = graph("--none=None,no_relation")
    assert "looks empty" not in said and "1 statements" in said and "no_relation" not in edges
    said, edges = graph("--none=")
    assert "3 statements" in said and "no_relation" in edges


def test_mistakes_end_in_one_line(tmp_path):
    file = lines(tmp_path / "extracted.jsonl", POST)
    out = f"--out={tmp_path / 'graph'}"
    other = lines(tmp_path / "other.jsonl", {**POST, "text": "Ada leaves Grace"})
    bad = lines(tmp_path / "bad.jsonl", {**POST, "relations": [{**POST["relations"][0], "score": 7}]})
    assert message(run("graph", file)).startswith("give --out: ")
    assert message(run("graph", out)) == "give FILE or more: found nothing"
    assert message(run("graph", file, other, out)) == f"{other}:1: '1' is also in {file}:1, with other words"
    assert message(run("graph", bad, out)) == f"{bad}:1: 'peer' has the score 7.0, which is no probability"
    assert "no such file; JSON lines there are: bad.jsonl, extracted.jsonl" in message(run("graph", tmp_path / "no.jsonl", out))
    assert "'rdf' is none of turtle, jsonld, trig" in message(run("graph", file, out, "--formats=rdf"))
    assert message(run("graph", file, out, "--formats=")) == "--formats is empty: which of turtle, jsonld, trig, graphml, csv, html"
    assert message(run("graph", file, out, "--images=photos")) == "--images=photos: expected FOLDER=IRI"
    assert "'x' is no absolute IRI" in message(run("graph", file, out, "--base=x"))
    assert message(run("graph", file, out, f"--ids={file}")).startswith(f"{file}:1: the columns are surface, type, id")
    assert not (tmp_path / "graph").exists()
