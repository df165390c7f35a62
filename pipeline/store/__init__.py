"""The output folder: its columns, its parts, and what it says has been done already."""
