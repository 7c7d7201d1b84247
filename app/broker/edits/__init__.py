"""Edits of live maps: planned, allowed, written down, done, read again."""
