"""Pages of runs, whatever their state, and figures of items.  Reads run directories only.

The readers make a view of what a run has to show, family by family; comparison puts several side by
side; page and page_files draw them.
"""
