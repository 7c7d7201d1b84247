"""From the bytes of a map's entries to columns, text, JSON, filters and sorts; no input or output, no clock.

plan      BTF type (or names, or nothing) -> where each field is
table     Layout (what the bytes mean) and Table (the bytes)
decode    a path -> a numpy column
rows      JSON, NDJSON, dictionaries; csv_text: CSV
where     filter expressions; order: sorting
cell      text for people, through the lenses
key_text  what a user types as a key -> its bytes
"""
