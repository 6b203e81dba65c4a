"""Synthesis: can a molecule be made of what can be bought, as a component of the reward.

planner         the search for a route, and the component
route           a synthesis as data
stock           what can be bought
steps           the last step of a synthesis, by templates
templates       reactions in both directions, of templates.toml
megan           the last step by MEGAN, a worker
reactions       classes of reactions, and the rule ALL-AMIDE
reaction_rules  their SMIRKS
picture         a route as SVG
"""
