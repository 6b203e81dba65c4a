"""The reward of a molecule, from the components that a configuration names.

aggregate   scores to one reward
transform   raw values to scores
build       the component of a configuration
properties  components of RDKit
own         components of the user: functions and programs
inputs      files and versions that the values depend on
worker      the program of a process that computes one
"""
