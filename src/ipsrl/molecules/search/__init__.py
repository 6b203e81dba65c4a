"""The search: draws molecules, asks the oracle, and learns.

loop        one step
result      what was found: figures, the table of calls
state       the search as a checkpoint holds it
oracle      every call, within the budget
learning    one update of the agent
outcomes    which molecules are the same, and how probable they are
diversity   the filter of scaffolds
memory      the best molecules so far
"""
