"""What launch.submit starts a run with on each kind of cluster, and how its environment file is read."""
