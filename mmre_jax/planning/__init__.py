"""What training would need and could reach on chips that are not here: its step compiled for them, and arithmetic with published rates."""
