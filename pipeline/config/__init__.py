"""What to do: the job file, and the part of the job that a run selects."""
