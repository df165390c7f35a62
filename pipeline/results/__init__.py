"""What people make of a store: comparisons, pages, exports."""
