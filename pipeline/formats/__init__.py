"""Answer formats: what an answer looks like, one file a format."""
