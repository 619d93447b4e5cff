#!/usr/bin/env bash
# One machine: a process for each of its devices. launch.submit fills in what stands between two @.
export JAX_PLATFORMS=@backend@
exec @python@ -m mmre_jax local --processes=@devices@ --devices=1 -- @command@
