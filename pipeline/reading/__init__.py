"""Reads shards into records, and into rejects for what cannot be used."""
