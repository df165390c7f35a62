"""The cluster under a run: its session, its coordinator, and what its workers report."""
