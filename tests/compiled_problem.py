"""Small networks and made-up images for tests of the compiled loops and of ensembles."""

import itertools

import numpy as np
import torch
from torch import nn

EXAMPLES = 2 * 32 + 21  # the last batch is smaller
CLOSE = {"rtol": 2e-4, "atol": 2e-6}  # float32 sums in another order, over some steps


def fully_connected(widths, normed=True) -> nn.Sequential:
    layers = [nn.Flatten()]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Linear(inputs, outputs))
        if i + 2 < len(widths):
            layers += [nn.BatchNorm1d(outputs)] * normed + [nn.ReLU()]
    network = nn.Sequential(*layers)
    with torch.no_grad():  # scales, shifts and moments that are not 1 and 0
        for m in network:
            if isinstance(m, nn.BatchNorm1d):
                m.weight.uniform_(0.5, 1.5)
                m.bias.normal_(0, 0.3)
                m.running_mean.normal_(0, 0.3)
                m.running_var.uniform_(0.5, 1.5)
    return network


def problem(widths, normed=True, seed=0):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((EXAMPLES, widths[0])).astype(np.float32)
    labels = rng.integers(0, widths[-1], EXAMPLES)
    return fully_connected(widths, normed), images, labels
