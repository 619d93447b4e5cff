"""Five posts with pictures, as an extraction gives them: two say the same, one is hostile, one has lost its picture."""

import pytest
from PIL import Image, ImageDraw

from mmre_jax.graph import Rule, Rules, build
from mmre_jax.records import Mention, Record, Relation, Triple

LEFT, RIGHT = (0.1, 0.2, 0.45, 0.9), (0.55, 0.25, 0.9, 0.95)
HOSTILE = "<script>alert('x')</script></script><img"


@pytest.fixture(scope="session")
def posts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    photo = Image.new("RGB", (640, 420), "lightblue")
    for box, colour in ((LEFT, "firebrick"), (RIGHT, "navy")):
        ImageDraw.Draw(photo).ellipse([side * size for side, size in zip(box, (640, 420) * 2, strict=True)], fill=colour)
    photo.save(folder / "two people.jpg")
    image = str(folder / "two people.jpg")
    ada, grace, acm, paris = Mention(0, 1, "PER", 0.98), Mention(2, 3, "PER"), Mention(4, 5, "ORG", 0.8), Mention(6, 7, "LOC")
    return [
        Record(
            id="post/1",
            words=tuple("Ada meets Grace at ACM in Paris 🎉".split()),
            image=image,
            mentions=(ada, acm),
            relations=(
                Relation(ada, grace, "/per/per/peer", 0.8),
                Relation(ada, acm, "/per/org/member_of", 0.6),
                Relation(grace, paris, "/per/loc/lives_in", 0.2),
                Relation(acm, paris, "None", 0.9),
            ),
            triples=(Triple(ada, "shown", LEFT, 0.9), Triple(grace, "shown", RIGHT, 0.7)),
            origin="one.jsonl:1",
        ),
        Record(
            id="post-2",
            words=("photo", "of", "@grace", "with", "ADA's", "dog", HOSTILE, "onerror=alert(1)>"),
            string=f"photo of @grace, with ADA's dog {HOSTILE} onerror=alert(1)>",
            places=((0, 5), (6, 8), (9, 15), (17, 21), (22, 27), (28, 31), (32, 32 + len(HOSTILE)), (33 + len(HOSTILE), 50 + len(HOSTILE))),
            relations=(
                Relation(Mention(2, 3, "PER"), Mention(4, 5, "PER"), "/per/per/peer", 0.5),
                Relation(Mention(4, 5, "PER"), Mention(6, 7, "MISC"), "=cmd|' /C calc'!A0", 0.4),
            ),
        ),
        Record(id="post-3", words=("nothing", "here"), image=str(folder / "gone.jpg")),
        Record(
            id="post-4",
            words=("غريس", "في", "باريس"),
            relations=(Relation(Mention(0, 1, "PER"), Mention(2, 3, "LOC"), "/per/loc/lives_in"),),
        ),
        Record(id="post-5", words=("ACM", "has", "Ada"), relations=(Relation(Mention(0, 1, "ORG"), Mention(2, 3, "PER"), "has", 0.5),)),
    ]


@pytest.fixture(scope="session")
def rules():
    knows, member = "http://xmlns.com/foaf/0.1/knows", "http://www.wikidata.org/prop/direct/P463"
    return Rules(
        {
            "/per/per/peer": Rule(property=knows, symmetric=True),
            "/per/org/member_of": Rule(property=member),
            "has": Rule(inverse_of="/per/org/member_of"),
        },
        {"PER": "http://xmlns.com/foaf/0.1/Person"},
    )


@pytest.fixture(scope="session")
def graph(posts, rules):
    return build(posts, rules=rules)
