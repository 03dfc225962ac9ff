"""transformers: one DeepSeek-V2 expert layer (gate, routed and shared experts), forward and backward, float32, by the fastest of
its expert implementations for a CPU. Prints seconds and tokens per second of the fastest, seconds of each."""

import statistics

import psutil
import torch
from peer import arguments, report, seconds_of
from transformers import DeepseekV2Config
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

# integrations/moe.py of transformers 5.17; deepgemm and sonicmoe are for CUDA alone
IMPLEMENTATIONS = ("grouped_mm", "eager", "batched_mm")

options = arguments(__doc__, rows=2048, hidden=512, width=352, experts=64, per_token=6, shared=2, repeats=7)
torch.manual_seed(1)
config = DeepseekV2Config(hidden_size=options.hidden, moe_intermediate_size=options.width, n_routed_experts=options.experts,
                          num_experts_per_tok=options.per_token, n_shared_experts=options.shared, topk_method="greedy",
                          n_group=1, topk_group=1, routed_scaling_factor=1.0)
layer = DeepseekV2Moe(config).float().train()
for parameter in layer.parameters():
    torch.nn.init.normal_(parameter, std=0.02)
x = torch.randn(options.rows, options.hidden)
dy = torch.randn_like(x)


def step():
    for parameter in layer.parameters():
        parameter.grad = None
    layer(x.detach().requires_grad_()).backward(dy)


def bytes_of(implementation):
    """batched_mm copies a token's matrices for every pair, and their gradients."""
    pairs = options.rows * options.per_token
    return 2 * 4 * pairs * 3 * options.width * options.hidden if implementation == "batched_mm" else 0


seconds, not_run = {}, {}
for implementation in IMPLEMENTATIONS:
    needed, available = bytes_of(implementation), psutil.virtual_memory().available
    if needed > available:
        not_run[implementation] = f"needs {needed / 2**30:.0f} GiB, {available / 2**30:.0f} GiB are free"
        continue
    config._experts_implementation = implementation
    once = seconds_of(step, 1)[0]
    slow = seconds and once > 2 * min(seconds.values())  # not the fastest: once is enough
    seconds[implementation] = once if slow else statistics.median(seconds_of(step, options.repeats))
fastest = min(seconds, key=seconds.get)
with torch.no_grad():
    counts = torch.bincount(layer.gate(x)[2].flatten(), minlength=options.experts)
report("experts", options, tokens_per_s=options.rows / seconds[fastest], seconds=seconds[fastest], implementation=fastest,
       seconds_of_each=seconds, not_run=not_run, expert_load_max=(counts.max() / counts.float().mean()).item())
