"""`python -m bench`: the same as `nacelle bench`."""

from bench.cli import bench

bench(prog_name="nacelle bench")
