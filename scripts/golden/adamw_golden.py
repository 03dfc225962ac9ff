#!/usr/bin/env python3
"""Golden parameters after each of five steps of torch.optim.AdamW with clip_grad_norm_, float32.

    python scripts/golden/adamw_golden.py tests/golden/train/adamw.json

Decay on matrices only, as two parameter groups. The learning rate changes from step to step.
"""
import json
import sys

import torch

SHAPES = {"embedding": [5, 3], "norm": [7], "block": [2, 3, 4], "scalar": []}
LEARNING_RATES = [1e-2, 3e-2, 2e-2, 1e-3, 5e-2]
SETTING = dict(beta1=0.9, beta2=0.95, eps=1e-6, weight_decay=0.1, max_grad_norm=1.5)


def main(path):
    generator = torch.Generator().manual_seed(3)
    parameters = {n: torch.randn(s, generator=generator).requires_grad_(True) for n, s in SHAPES.items()}
    start = {n: p.flatten().tolist() for n, p in parameters.items()}
    matrices = [p for p in parameters.values() if p.dim() >= 2]
    others = [p for p in parameters.values() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [dict(params=matrices, weight_decay=SETTING["weight_decay"]), dict(params=others, weight_decay=0.0)],
        betas=(SETTING["beta1"], SETTING["beta2"]), eps=SETTING["eps"], foreach=False, fused=False)
    steps = []
    for i, lr in enumerate(LEARNING_RATES):
        scale = 0.1 if i == 2 else 1.0  # one step is below the clipping norm
        gradients = {n: scale * torch.randn(p.shape, generator=generator) for n, p in parameters.items()}
        for n, p in parameters.items():
            p.grad = gradients[n].clone()
        for group in optimizer.param_groups:
            group["lr"] = lr
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), SETTING["max_grad_norm"])
        optimizer.step()
        steps.append(dict(lr=lr, grad_norm=norm.item(), gradients={n: g.flatten().tolist() for n, g in gradients.items()},
                          parameters={n: p.detach().flatten().tolist() for n, p in parameters.items()}))
    with open(path, "w") as f:
        json.dump(dict(made_by="scripts/golden/adamw_golden.py", torch=torch.__version__, setting=SETTING, shapes=SHAPES,
                       start=start, steps=steps), f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
