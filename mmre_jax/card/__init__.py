"""Model cards: `card(workdir)` gives one as Markdown."""

from mmre_jax.card.write import card

__all__ = ["card"]
