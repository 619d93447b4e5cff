"""Text and image encoders in Flax, each equal to a published architecture and tested against its PyTorch original."""
