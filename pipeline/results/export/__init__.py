"""The newest answers as one file for other tools, one row per record or one row per paper."""
