"""What a run is told to do: the job file, and the part of the job that the run selects."""
