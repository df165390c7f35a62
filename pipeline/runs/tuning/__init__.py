"""`overnight tune`: tries engine settings on a sample of a job's prompts, by successive halving."""
