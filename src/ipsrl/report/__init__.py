"""Pages of runs, whatever their state, and figures of items.  Reads run directories only.

    readers > view        what a run has to show, family by family
    comparison > view     several runs side by side
    page, page_files      how that is drawn
"""
