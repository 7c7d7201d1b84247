"""Snapshots of maps as bytes: cut into chunks by their keys, stored once by content, compared chunk by chunk.

Nothing here knows what the bytes mean; app.timeline brings them together with live maps and their types.
"""
