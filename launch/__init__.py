"""Entry points: python -m launch.train, settings, evaluate, extract, prepare, audit, benchmark."""
