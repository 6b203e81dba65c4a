"""The chemical language model: what writes the molecules.

prior        a model and its vocabulary: draws SMILES, and says how likely they are
vocabulary   SMILES <-> tokens
mamba        its selective scan on a CPU
weights      weights and optimiser as arrays, for checkpoints
pretraining  a prior of a file of SMILES
quality      how good a prior is
convert      a prior of other projects' weights
"""
