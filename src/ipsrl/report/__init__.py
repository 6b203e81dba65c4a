"""Figures and pages of finished runs.  Reads run directories only."""
