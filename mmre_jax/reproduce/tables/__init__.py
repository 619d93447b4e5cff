"""The tables and figures, by name, in the order of the papers."""

from __future__ import annotations

from mmre_jax.reproduce.table import Entry
from mmre_jax.reproduce.tables import hvformer, ifaformer, ours

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (*hvformer.ENTRIES, *ifaformer.ENTRIES, *ours.ENTRIES)}
