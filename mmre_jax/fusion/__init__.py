"""One published fusion mechanism a file."""
