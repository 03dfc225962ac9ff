"""transformers: log-probabilities of given tokens, float32, no gradients. Prints tokens per second."""

import statistics

import torch
from peer import arguments, random_ids, random_model, report, seconds_of

options = arguments(__doc__, rows=4, columns=256, repeats=3)
model = random_model(options.shape).eval()
ids = random_ids(options.shape, options.rows, options.columns + 1)


@torch.no_grad()
def logprobs():
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    picked = logits.gather(-1, ids[:, 1:, None])[..., 0]
    return picked - logits.logsumexp(-1)


seconds = statistics.median(seconds_of(logprobs, options.repeats))
report("forward", options, tokens_per_s=options.rows * options.columns / seconds, seconds=seconds)
