"""Multimodal relation extraction in JAX: `mmre_jax.load(workdir).extract(text=..., image=..., head=..., tail=...)`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmre_jax.extract import Extractor, load
    from mmre_jax.extraction import Chars, Extraction

__all__ = ["Chars", "Extraction", "Extractor", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What stands in __all__, imported when it is first asked for: JAX takes seconds, for which `mmre --help` need not wait."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "mmre_jax.extraction" if name == "Chars" else "mmre_jax.extract"
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
