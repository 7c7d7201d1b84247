"""One module for each group of programs and maps: load, attach, fill, keep changing."""
