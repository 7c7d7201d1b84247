"""The recorder: a process without any capability that watches the maps over time.

Today it keeps the rate at which each map fills; it is where the history will be written.
"""
