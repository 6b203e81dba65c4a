"""Pure functions on the array API: no files, no state, no hidden randomness."""
