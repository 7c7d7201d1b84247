"""Who may edit what: a TOML file, whose errors are named by line and mean reading only."""
