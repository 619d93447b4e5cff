"""Patches of several levels in one plane, by t-SNE (HVFormer, figure 8)."""

from __future__ import annotations

import numpy as np

PERPLEXITY = 30.0  # scikit-learn's own; fewer points than it needs lower it


def plane(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton 2008) as scikit-learn computes it, from a start by principal components, Euclidean distances.

    Args:
      points: float [n, D], n at least 5.

    Returns:
      float32 [n, 2]; the same for the same points and seed.

    Raises:
      ValueError: for fewer points, or such as are not finite.
    """
    if points.ndim != 2 or len(points) < 5:
        raise ValueError(f"t-SNE takes points [n, D], n at least 5, found {list(points.shape)}")
    if not np.isfinite(points).all():
        raise ValueError("t-SNE takes finite points: the hidden states have NaN or infinity")
    # Both take a second to import, and this alone needs them; scikit-learn brings the latter.
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    with threadpool_limits(1):  # sums of several threads come out otherwise each time; and beside other programs they wait for each other
        return TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(points).astype(np.float32)
