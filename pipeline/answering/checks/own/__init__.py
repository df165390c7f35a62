"""Checks of the user's own: Python files, patterns and expressions.

Each is data that travels to where answers are checked, and is compiled there once a process.
Nothing that one does with an answer ends a run: a fault in it fails that check for that answer.
"""
