"""What every room stands on: records, tables, files, errors. A closed list."""
