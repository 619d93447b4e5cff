"""Pretrained weights: read safely from disk (hub) and mapped both ways by declarative rules, one table an architecture."""
