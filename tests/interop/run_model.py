"""A bundle as transformers with compressed-tensors loads and runs it.

usage: run_model.py BUNDLE IDS.json OUT.npz [SAVED]

SAVED is where the model is written again. OUT gets of every linear L that is
quantized `weight/L`, as it multiplies, and of three runs

  loaded    as it came
  narrow    codes from -127 to 127, as Octet has them; theirs have -128, too
  weights   without quantizing activations

`RUN/embeddings`, means over tokens of unit length, one for each list of ids;
and `RUN/x/L` and `RUN/y/L`, inputs and outputs while the first list ran.
"""

import json
import sys

import numpy
import torch
import transformers
from compressed_tensors.quantization.utils import helpers


def main(bundle, ids, out, saved=""):
    model = transformers.AutoModel.from_pretrained(bundle).eval()
    if saved:
        model.save_pretrained(saved)
    with open(ids) as file:
        lists = json.load(file)
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and hasattr(module, "quantization_scheme")
    }
    results = run("loaded", model, linears, lists)
    # A dynamic scale is the largest magnitude over half of the codes' range.
    theirs = helpers._calculate_range
    ends = torch.tensor(-127.0), torch.tensor(127.0)
    helpers._calculate_range = lambda *_: ends
    results |= run("narrow", model, linears, lists)
    helpers._calculate_range = theirs
    for module in linears.values():
        module.quantization_scheme.input_activations = None
    results |= run("weights", model, linears, lists)
    for name, module in linears.items():
        results[f"weight/{name}"] = module.weight.numpy()
    numpy.savez(out, **results)


@torch.no_grad()
def run(what, model, linears, lists):
    results = {}

    def keep(name):
        def hook(_, inputs, output):
            results.setdefault(f"{what}/x/{name}", inputs[0][0].numpy())
            results.setdefault(f"{what}/y/{name}", output[0].numpy())

        return hook

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in linears.items()
    ]
    embeddings = []
    for ids in lists:
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        row = states.mean(0)
        embeddings.append((row / row.norm()).numpy())
    for hook in hooks:
        hook.remove()
    results[f"{what}/embeddings"] = numpy.stack(embeddings)
    return results


if __name__ == "__main__":
    main(*sys.argv[1:])
