"""Docking: how well a molecule fits a receptor (kcal/mol), as a component of the reward.

docking     the component
ligand      SMILES -> PDBQT
structure   files of proteins and ligands
receptor    PDB -> PDBQT and box
engines     Vina in this process, QuickVina2-GPU and Uni-Dock as programs
rank        does a budget rank molecules?
redock      does the set-up find the pose of the crystal?
"""
