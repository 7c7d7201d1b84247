"""The audit log: written and synced before each edit, completed after it, chained by a key outside the database."""
