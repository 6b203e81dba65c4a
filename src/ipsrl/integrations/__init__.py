"""IPS inside trainers of other projects; each module imports its host, and nothing else does."""
