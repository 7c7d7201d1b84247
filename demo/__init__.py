"""The demo: real programs, real attachments and live traffic, so that every kind of map has something to show."""
