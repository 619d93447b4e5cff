"""From files to batches: readers, pictures, text, prepared data sets, the loader."""

from mmre_jax.data.dataset import DataSet
from mmre_jax.data.datasets import open_records

__all__ = ["DataSet", "open_records"]
