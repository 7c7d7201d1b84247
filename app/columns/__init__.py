"""From the bytes of a map's entries to columns, text, JSON, filters and sorts; no input or output, no clock.

node      one field: its bits, its meaning; build: BTF types to nodes, within bounds
plan      a whole key or value, from a BTF type, from names, or as bare bytes
table     Layout (what the bytes mean) and Table (the bytes)
decode    a path -> a numpy column
json_text one field of many entries -> JSON text; rows: JSON, NDJSON, dictionaries; csv_text: CSV
where     filter expressions; condition: what they are made of; mask: their answer for all entries; order: sorting
cell      text for people, through the lenses; readings: the same beside JSON
key_text  what a user types as a key -> its bytes
"""
