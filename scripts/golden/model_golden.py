"""Golden numbers for the model: tiny random transformers models with their logits, loss, gradients and greedy tokens.

    .venv-peers/bin/python scripts/golden/model_golden.py tests/golden/model [name ...]

Each folder is a HF directory (config.json, safetensors) plus expected.safetensors with

    input_ids    [B, T] I64    every row uses all T positions, 0 .. T-1
    logits_f64   [B, T, V]     everything in float64, rotary angles and norms included (transformers computes these two in
                               float32 whatever the model's dtype, so they are replaced here)
    logits_f32   [B, T, V]     plain transformers in float32: its distance to logits_f64 is the tolerance to measure against
    loss_f64     [1]           mean over rows and t < T-1 of -log p(ids[t+1] | ids[0..t])
    grad.<name>  F64           d loss / d parameter, under the checkpoint's names; a tied output has no own entry
    greedy_ids   [1, 16] I64   arg max continuation of input_ids[0, :8] by the whole forward in float32

Weights are drawn larger than at a training start, so that a wrong rope, norm or head mapping moves logits by 0.1 and more.
The greedy tokens lead the runner-up by at least 1e-3, which no rounding in float32 changes.
"""

import json
import math
import os
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

B, T, GREEDY_PROMPT, GREEDY_NEW = 2, 24, 8, 16
COMMON = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=1, pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", rope_theta=100.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
YARN = dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=16)
LINEAR = dict(rope_type="linear", rope_theta=100.0, factor=2.0)

# name: (model_type, settings, how it is stored). classic_rope writes config.json as transformers 4 did.
MODELS = {
    "llama_tied_llama3_rope": ("llama", dict(tie_word_embeddings=True, head_dim=8, rope_parameters=LLAMA3), {}),
    "llama_linear_rope_bf16": ("llama", dict(rope_parameters=LINEAR), dict(dtype=torch.bfloat16)),
    "llama_yarn_rope_f16": ("llama", dict(rope_parameters=YARN, head_dim=8),
                            dict(dtype=torch.float16, classic_rope=True)),
    "qwen2_bias_sharded": ("qwen2", dict(tie_word_embeddings=False, rope_parameters=dict(rope_type="default", rope_theta=1e4)),
                           dict(max_shard_size="8KB", classic_rope=True)),
    "qwen3_qk_norm": ("qwen3", dict(tie_word_embeddings=True, head_dim=12,
                                    rope_parameters=dict(rope_type="default", rope_theta=1e6)), {}),
}


def make_model(model_type, settings, dtype, seed):
    config = transformers.AutoConfig.for_model(model_type, **COMMON, **settings)
    config._attn_implementation = "sdpa"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if name.endswith("norm.weight") else 0.4 * noise)
            parameter.copy_(parameter.to(dtype))  # what the file holds
    return model


def inv_freq_f64(config, head_dim):
    """The rotary frequencies and the factor on cos and sin, in float64, from the papers' formulas."""
    rope = config.rope_parameters
    base = rope["rope_theta"]
    frequencies = [base ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    if rope["rope_type"] == "default":
        return frequencies, 1.0
    factor = rope["factor"]
    if rope["rope_type"] == "linear":
        return [f / factor for f in frequencies], 1.0
    context = rope["original_max_position_embeddings"]
    if rope["rope_type"] == "llama3":
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        scaled = []
        for f in frequencies:
            turns = context * f / (2 * math.pi)
            smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
            scaled.append((1 - smooth) * f / factor + smooth * f)
        return scaled, 1.0
    assert rope["rope_type"] == "yarn"  # arXiv:2309.00071, beta_fast 32 and beta_slow 1
    dim_of = lambda turns: head_dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))
    first, last = max(math.floor(dim_of(32)), 0), min(math.ceil(dim_of(1)), head_dim - 1)
    scaled = []
    for i, f in enumerate(frequencies):
        ramp = min(max((i - first) / max(last - first, 0.001), 0.0), 1.0)
        scaled.append((1 - ramp) * f + ramp * f / factor)
    return scaled, 0.1 * math.log(factor) + 1.0


def make_exact(model):
    """Turns a model into float64 throughout."""
    model = model.double()
    rotary = model.model.rotary_emb
    frequencies, scale = inv_freq_f64(model.config, 2 * rotary.inv_freq.numel())
    frequencies = torch.tensor(frequencies, dtype=torch.float64)
    assert torch.allclose(frequencies, rotary.inv_freq.double(), rtol=1e-5), "rope formula differs from transformers'"
    assert abs(scale - rotary.attention_scaling) < 1e-12

    def rotary_forward(x, position_ids):
        angles = position_ids[..., None].double() * frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos() * scale, angles.sin() * scale

    def norm_forward(norm):
        return lambda x: norm.weight * x / (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()

    rotary.forward = rotary_forward
    norms = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    assert norms
    for norm in norms:
        norm.forward = norm_forward(norm)
    return model


def use_classic_rope(path):
    """rope_theta and rope_scaling at the top level, as in most published checkpoints."""
    with open(path) as file:
        config = json.load(file)
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    with open(path, "w") as file:
        json.dump(config, file, indent=2)
        file.write("\n")


def greedy(model, prompt):
    ids, smallest_lead = prompt, math.inf
    for _ in range(GREEDY_NEW):
        top = model(ids).logits[0, -1].topk(2)
        smallest_lead = min(smallest_lead, (top.values[0] - top.values[1]).item())
        ids = torch.cat((ids, top.indices[:1][None]), 1)
    return ids[:, prompt.shape[1]:], smallest_lead


def write_golden(root, name):
    model_type, settings, storage = MODELS[name]
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)
    for stale in os.listdir(folder):
        os.remove(os.path.join(folder, stale))
    dtype = storage.get("dtype", torch.float32)
    for seed in range(100):  # the first seed whose greedy path is clear
        model = make_model(model_type, settings, dtype, seed)
        ids = torch.randint(2, COMMON["vocab_size"], (B, T), generator=torch.Generator().manual_seed(1000 + seed))
        with torch.no_grad():
            greedy_ids, lead = greedy(model, ids[:1, :GREEDY_PROMPT])
        if lead > 1e-3:
            break
    with torch.no_grad():
        logits_f32 = model(ids).logits
    model.to(dtype).save_pretrained(folder, max_shard_size=storage.get("max_shard_size", "1GB"))
    generation_config = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation_config):
        os.remove(generation_config)
    if storage.get("classic_rope"):
        use_classic_rope(os.path.join(folder, "config.json"))

    # transformers itself must read the directory back to the same model.
    read_back = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    with torch.no_grad():
        assert torch.equal(read_back.eval()(ids).logits, logits_f32), name

    exact = make_exact(read_back)
    logits_f64 = exact(ids).logits
    loss = torch.nn.functional.cross_entropy(logits_f64[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    expected = {"input_ids": ids, "logits_f64": logits_f64.detach(), "logits_f32": logits_f32, "greedy_ids": greedy_ids,
                "loss_f64": loss.detach()[None]}
    for parameter_name, parameter in exact.named_parameters():
        expected["grad." + parameter_name] = parameter.grad
    made_by = (f"scripts/golden/model_golden.py with torch {torch.__version__}, "
               f"transformers {transformers.__version__}, seed {seed}")  # one entry: their order in a file is random
    save_file({key: value.contiguous() for key, value in expected.items()}, os.path.join(folder, "expected.safetensors"),
              {"made_by": made_by})
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)
    total = sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
    assert total < 200_000, f"{name} takes {total} bytes"
    error = (logits_f32.double() - logits_f64).abs().max().item()
    print(f"{name}: {sum(p.numel() for p in exact.parameters())} parameters, {total // 1000} kB, loss {loss.item():.6f}, "
          f"float32 logits within {error:.1e} of float64, seed {seed}, greedy lead {lead:.1e}")


def main(root, names):
    transformers.utils.logging.disable_progress_bar()
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        sys.exit(f"unknown model golden {unknown[0]}; accepted: {', '.join(MODELS)}")
    torch.set_num_threads(1)
    for name in names or MODELS:
        write_golden(root, name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
