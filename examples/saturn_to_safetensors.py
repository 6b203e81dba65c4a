"""Run this where the model was made, in Saturn's own environment and folder:

    python saturn_to_safetensors.py agent.prior prior.safetensors tokens.json

A pickle runs code when it is loaded, so ipsrl never loads one. Then, here:

    ipsrl molecules import --weights prior.safetensors --tokens tokens.json --out saturn
"""

import json
import sys

import torch
from safetensors.torch import save_file

source, weights, tokens = sys.argv[1:]
saved = torch.load(source, map_location="cpu", weights_only=False)  # needs Saturn's classes
vocabulary = saved["vocabulary"]
with open(tokens, "w") as file:
    json.dump([vocabulary[i] for i in range(len(vocabulary))], file)
# The output layer shares its weights with the embedding, which safetensors stores once.
network = saved["network"]
names = [name for name in network if not name.endswith("lm_head.weight")]
save_file({name: network[name].contiguous() for name in names}, weights)
