"""What every room builds on: records, Arrow tables, files, errors. The list is closed."""
