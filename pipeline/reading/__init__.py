"""Shards to records: what the input holds, and what of it cannot be used."""
