"""Where a component is computed, and what is kept of it.

processes   in processes on this machine that can be killed
cluster     in the same processes on a Ray cluster
cache       its values, from run to run
"""
