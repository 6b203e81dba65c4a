"""IPS inside trainers of other projects; only the module of a host imports that host."""
