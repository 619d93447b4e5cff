"""What the authors' released code computes where it is not what their papers say, one release a file; `system.flavour=reference` asks for
it. Encoders and heads are shared with the papers' systems, and so are the names of all parameters.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from mmre_jax.systems.released import hvformer, ifaformer, prefixes

BUILDERS = {  # by the name of the system that the release is of
    "hvformer": hvformer.build,
    "ifaformer": ifaformer.build,
    "rsrnet": prefixes.build,
}


def is_asked_for(config: ConfigDict) -> bool:
    """Whether a configuration wants what the released code computes, from the files on: texts and pictures are read as it reads them."""
    return bool(config.system.flavour == "reference")
