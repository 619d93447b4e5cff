"""One published task a file: labels, features, decoding, metrics."""
