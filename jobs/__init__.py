"""What a scheduler starts: one thin file a command, behind one console script."""
