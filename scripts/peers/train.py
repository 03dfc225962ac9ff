"""transformers: supervised training steps, every position a target, float32, AdamW. Prints tokens per second."""

import statistics

import torch
from peer import arguments, random_ids, random_model, report, seconds_of

options = arguments(__doc__, rows=4, columns=256, repeats=2)
model = random_model(options.shape).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1, betas=(0.9, 0.95))
ids = random_ids(options.shape, options.rows, options.columns + 1)


def step():
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


seconds = statistics.median(seconds_of(step, options.repeats))
report("train", options, tokens_per_s=options.rows * options.columns / seconds, seconds=seconds)
