"""Columns that several tables have, in the order in which they are printed."""

from __future__ import annotations

from mmre_jax.reproduce.table import Column

F1 = Column("F1", "micro.f1")
PRECISION = Column("P", "micro.precision")
RECALL = Column("R", "micro.recall")
ACCURACY = Column("Acc", "accuracy")
PRF = (PRECISION, RECALL, F1)
APRF = (ACCURACY, PRECISION, RECALL, F1)
