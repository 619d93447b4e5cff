"""`python -m mmre_jax` is the command `mmre`."""

from mmre_jax.cli import main

if __name__ == "__main__":
    main()
