"""Columns that several tables have, in the order in which they are printed."""

from __future__ import annotations

from mmre_jax.reproduce.table import Column

F1 = Column("F1", "micro.f1")
PRECISION = Column("P", "micro.precision")
RECALL = Column("R", "micro.recall")
ACCURACY = Column("Acc", "accuracy")
PRF = (PRECISION, RECALL, F1)
APRF = (ACCURACY, PRECISION, RECALL, F1)
ENTITIES = (Column("P", "entity.micro.precision"), Column("R", "entity.micro.recall"), Column("F1", "entity.micro.f1"))
TRIPLES = (  # QEOT's measures; of triples as printed (Algorithm 1), which is what its tables hold
    Column("Triple Prec.", "triple.paper.precision"),
    Column("Triple Rec.", "triple.paper.recall"),
    Column("Triple F1", "triple.paper.f1"),
    Column("Pair Prec.", "pair.precision"),
    Column("Pair Rec.", "pair.recall"),
    Column("Pair F1", "pair.f1"),
    Column("Relation Acc.", "relation.accuracy"),
    Column("Entity Acc.", "entity.accuracy"),
)
STRICT = (  # every surplus and every missing triple counted
    Column("Strict Prec.", "triple.strict.precision"),
    Column("Strict Rec.", "triple.strict.recall"),
    Column("Strict F1", "triple.strict.f1"),
)
