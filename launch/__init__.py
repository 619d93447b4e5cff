"""Entry points, a file each: python -m launch.train in a checkout, `mmre train` anywhere (mmre_jax/cli.py)."""
