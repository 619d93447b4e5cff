"""The tables and figures, by name, in the order of the papers."""

from __future__ import annotations

from mmre_jax.reproduce.table import Entry
from mmre_jax.reproduce.tables import dgf_pt, hvformer, ifaformer, ours, qeot, rsrnet

_ALL = (hvformer.ENTRIES, ifaformer.ENTRIES, qeot.ENTRIES, rsrnet.ENTRIES, dgf_pt.ENTRIES, ours.ENTRIES)
ENTRIES: dict[str, Entry] = {entry.name: entry for own in _ALL for entry in own}
