"""What a job is asked to do: the job file, its checks, and which part of the work a run takes."""
