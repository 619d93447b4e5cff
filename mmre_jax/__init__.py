"""Multimodal relation extraction in JAX: `mmre_jax.load(workdir).extract(text=..., image=..., head=..., tail=...)`."""

from mmre_jax.extract import Extraction, Extractor, load

__all__ = ["Extraction", "Extractor", "load"]
__version__ = "0.1.0"
