"""transformers generate(): sampling at temperature 1 with a KV cache, exact lengths. Prints new tokens per second.

The time holds the prompts' forward too.
"""

import statistics

import torch
from peer import arguments, random_ids, random_model, report, seconds_of

options = arguments(__doc__, rows=32, prompt=64, new=32, repeats=1)
model = random_model(options.shape).eval()
prompts = random_ids(options.shape, options.rows, options.prompt)


@torch.no_grad()
def rollout():
    ids = model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), do_sample=True, temperature=1.0,
                         top_k=0, top_p=1.0, min_new_tokens=options.new, max_new_tokens=options.new)
    assert ids.shape == (options.rows, options.prompt + options.new), ids.shape


torch.manual_seed(0)
seconds = statistics.median(seconds_of(rollout, options.repeats))
report("rollout", options, tokens_per_s=options.rows * options.new / seconds, seconds=seconds)
