"""What a command does with a job: execute, plan, recheck, diagnose."""
