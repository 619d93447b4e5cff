"""One configuration file per system: get_config(variant)."""
