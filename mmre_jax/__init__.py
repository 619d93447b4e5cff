"""Multimodal relation extraction in JAX: `mmre_jax.load(workdir).extract(text=..., image=..., head=..., tail=...)`, and without mentions
`mmre_jax.load(entities=workdir, relations=workdir).extract(text=..., image=...)`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmre_jax.chain import Chain, load
    from mmre_jax.extract import Extractor
    from mmre_jax.extraction import Chars, Extraction

_FROM = {"Chain": "chain", "Chars": "extraction", "Extraction": "extraction", "Extractor": "extract", "load": "chain"}
__all__ = ["Chain", "Chars", "Extraction", "Extractor", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What stands in __all__, imported when it is first asked for: JAX takes seconds, for which `mmre --help` need not wait."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"mmre_jax.{_FROM[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
