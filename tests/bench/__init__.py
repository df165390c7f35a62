"""`make bench`: the figures of docs/benchmarks.md, measured on the machine it runs on."""
