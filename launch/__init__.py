"""Entry points: python -m launch.train, evaluate, extract, prepare, audit, benchmark."""
