"""Settings and the rules they are checked by."""
