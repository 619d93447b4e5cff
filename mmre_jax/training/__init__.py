"""The trainer: it knows a system only by its three functions."""
