"""Golden numbers for latent attention and experts: tiny random DeepSeek-V2 and V3 models of transformers.

    .venv-peers/bin/python scripts/golden/deepseek_golden.py tests/golden/model [name ...]

The same files as model_golden.py's (its head says what they hold). transformers keeps an expert layer's matrices in two
tensors; their gradients are cut into the checkpoint's names, one per expert. Everything that transformers computes in float32
whatever the model's dtype (norms, rotary angles, the gate) is replaced for logits_f64 by the papers' formulas in float64, and
compared with transformers' own float32 result.
"""

import math
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2

from model_golden import B, GREEDY_PROMPT, T, greedy, inv_freq_f64

COMMON = dict(vocab_size=48, hidden_size=16, intermediate_size=24, moe_intermediate_size=6, num_attention_heads=4,
              num_key_value_heads=4, kv_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6,
              max_position_embeddings=64, bos_token_id=0, eos_token_id=1, pad_token_id=None)
YARN = dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=16, mscale=0.707, mscale_all_dim=0.9)
PLAIN = dict(rope_type="default", rope_theta=100.0)

MODELS = {
    # V3: query compression, groups by their two best, bias, normalised weights, YaRN with both mscales.
    "deepseek_v3_yarn": ("deepseek_v3", dict(num_hidden_layers=3, first_k_dense_replace=1, q_lora_rank=10, n_routed_experts=8,
                                             num_experts_per_tok=3, n_shared_experts=1, n_group=4, topk_group=2,
                                             routed_scaling_factor=2.5, norm_topk_prob=True, rope_parameters=YARN)),
    # V2-Lite: plain queries, softmax over all experts, two shared ones.
    "deepseek_v2_lite": ("deepseek_v2", dict(num_hidden_layers=2, first_k_dense_replace=1, q_lora_rank=None, n_routed_experts=6,
                                             num_experts_per_tok=2, n_shared_experts=2, n_group=1, topk_group=1,
                                             topk_method="greedy", routed_scaling_factor=1.0, norm_topk_prob=False,
                                             rope_parameters=YARN)),
    # V2: groups by their best expert, no dense layer.
    "deepseek_v2_groups": ("deepseek_v2", dict(num_hidden_layers=1, first_k_dense_replace=0, q_lora_rank=10, n_routed_experts=6,
                                               num_experts_per_tok=2, n_shared_experts=1, n_group=3, topk_group=2,
                                               topk_method="group_limited_greedy", routed_scaling_factor=16.0,
                                               norm_topk_prob=False, rope_parameters=PLAIN)),
}


def make_model(model_type, settings, seed):
    config = transformers.AutoConfig.for_model(model_type, **COMMON, **settings)
    config._attn_implementation = "sdpa"
    config._experts_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted([*model.named_parameters(), *model.named_buffers()]):
            if "inv_freq" in name:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + 0.3 * noise if name.endswith("norm.weight") else 0.1 * noise if "bias" in name else 0.4 * noise)
    return model


def gate_f64(gate, config):
    """arXiv:2412.19437 equations (12) to (16) for V3, arXiv:2405.04434 section 2.2 for V2."""

    def forward(x):
        x = x.reshape(-1, x.shape[-1])
        logits = x @ gate.weight.t()
        sigmoid = config.model_type == "deepseek_v3"
        scores = logits.sigmoid() if sigmoid else logits.softmax(-1)
        biased = scores.detach() + (gate.e_score_correction_bias if sigmoid else 0)
        groups = biased.unflatten(-1, (config.n_group, -1))
        if config.topk_group < config.n_group:
            rank = groups.topk(2 if sigmoid else 1, -1).values.sum(-1)
            kept = torch.zeros_like(rank).scatter(1, rank.topk(config.topk_group, -1).indices, 1.0).bool()
            groups = groups.masked_fill(~kept[..., None], -torch.inf)
        experts = groups.flatten(1).topk(config.num_experts_per_tok, -1).indices
        weights = scores.gather(1, experts)
        if config.norm_topk_prob:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return logits, weights * config.routed_scaling_factor, experts

    return forward


def make_exact(model):
    """Turns a model into float64 throughout."""
    model = model.double()
    config, rotary = model.config, model.model.rotary_emb
    mscale = [0.1 * config.rope_parameters.get(key, 0) * math.log(config.rope_parameters.get("factor", 1.0)) + 1
              for key in ("mscale", "mscale_all_dim")]
    frequencies, scale = inv_freq_f64(config, config.qk_rope_head_dim)
    scale = mscale[0] / mscale[1]
    frequencies = torch.tensor(frequencies, dtype=torch.float64)
    assert torch.allclose(frequencies, rotary.inv_freq.double(), rtol=1e-5), "rope formula differs from transformers'"
    assert abs(scale - rotary.attention_scaling) < 1e-12
    width = config.qk_nope_head_dim + config.qk_rope_head_dim
    assert abs(model.model.layers[0].self_attn.scaling - width ** -0.5 * mscale[1] ** 2) < 1e-12

    def rotary_forward(x, position_ids):
        angles = position_ids[..., None].double() * frequencies
        if config.model_type == "deepseek_v2":
            return torch.polar(torch.full_like(angles, scale), angles)
        angles = torch.cat((angles, angles), -1)
        return angles.cos() * scale, angles.sin() * scale

    def norm_forward(norm):
        return lambda x: norm.weight * x / (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()

    rotary.forward = rotary_forward
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = norm_forward(module)
        if type(module).__name__.endswith("TopkRouter"):
            module.forward = gate_f64(module, config)
    return model


def rotate_f64(q, k, turns):
    def one(x):
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns.unsqueeze(1)).flatten(3)

    return one(q), one(k)


def gradients(model):
    for name, parameter in model.named_parameters():
        if name.endswith("experts.gate_up_proj"):
            for e, grad in enumerate(parameter.grad):
                stem = name.replace("gate_up_proj", str(e))
                gate, up = grad.chunk(2)
                yield f"{stem}.gate_proj.weight", gate
                yield f"{stem}.up_proj.weight", up
        elif name.endswith("experts.down_proj"):
            for e, grad in enumerate(parameter.grad):
                yield name.replace("down_proj", f"{e}.down_proj.weight"), grad
        else:
            yield name, parameter.grad


def write_golden(root, name):
    model_type, settings = MODELS[name]
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)
    for stale in os.listdir(folder):
        os.remove(os.path.join(folder, stale))
    for seed in range(100):  # the first seed whose greedy path is clear and whose tokens meet every expert
        model = make_model(model_type, settings, seed)
        ids = torch.randint(2, COMMON["vocab_size"], (B, T), generator=torch.Generator().manual_seed(1000 + seed))
        with torch.no_grad():
            greedy_ids, lead = greedy(model, ids[:1, :GREEDY_PROMPT])
        if lead > 1e-3:
            break
    with torch.no_grad():
        logits_f32 = model(ids).logits
    model.save_pretrained(folder)
    generation_config = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation_config):
        os.remove(generation_config)
    read_back = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa",
                                                                  experts_implementation="eager").eval()
    with torch.no_grad():
        assert torch.equal(read_back(ids).logits, logits_f32), name

    exact = make_exact(read_back)
    plain_rotate, v2.apply_rotary_emb = v2.apply_rotary_emb, rotate_f64
    logits_f64 = exact(ids).logits
    loss = torch.nn.functional.cross_entropy(logits_f64[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    v2.apply_rotary_emb = plain_rotate
    expected = {"input_ids": ids, "logits_f64": logits_f64.detach(), "logits_f32": logits_f32, "greedy_ids": greedy_ids,
                "loss_f64": loss.detach()[None]}
    expected.update({"grad." + key: grad for key, grad in gradients(exact)})
    made_by = (f"scripts/golden/deepseek_golden.py with torch {torch.__version__}, "
               f"transformers {transformers.__version__}, seed {seed}")
    save_file({key: value.contiguous() for key, value in expected.items()}, os.path.join(folder, "expected.safetensors"),
              {"made_by": made_by})
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)
    total = sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
    assert total < 220_000, f"{name} takes {total} bytes"
    error = (logits_f32.double() - logits_f64).abs().max().item()
    assert error < 1e-3, f"{name}: float64 differs from transformers by {error}"
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
