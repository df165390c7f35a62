"""What a store is turned into for people: comparisons, HTML pages and exported files."""
