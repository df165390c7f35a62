"""HTML pages for people. Each is one file that needs no network and treats its data as text."""
