"""The search: draws molecules, asks the oracle, and learns.

loop        one step
result      what came of it: figures, the table of calls, the state of a checkpoint
oracle      every call, within the budget
learning    one update of the agent
outcomes    which molecules are the same, and how probable they are
diversity   the filter of scaffolds
memory      the best molecules so far
"""
