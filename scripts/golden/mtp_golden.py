"""Golden numbers for multi-token prediction: tiny random models with DeepSeek-V3's module of depth 1.

    .venv-peers/bin/python scripts/golden/mtp_golden.py tests/golden/model [name ...]

transformers leaves the module out, so it is put together here from transformers' own decoder layer and norms:

    x_i = eh_proj [ enorm(embed(t_{i+1})) ; hnorm(h_i) ],  h'_i = layer(x)_i,  logits_i = lm_head(shared_head.norm(h'_i))

with h_i the model's last_hidden_state, that is after the final norm, at position i. The folders are those of model_golden.py and
deepseek_golden.py with the module's tensors under model.layers.<num_hidden_layers>., embedding and head copied there as DeepSeek's
own files have them, and in expected.safetensors

    input_ids        [B, T] I64
    logits_f64       [B, T, V]      the trunk's, as ever
    mtp_logits_f64   [B, T-1, V]    of row i, for token i + 2
    mtp_logits_f32   [B, T-1, V]    the same in float32
    loss_f64         [1]            the trunk's mean cross-entropy + WEIGHT times the module's, whose targets are tokens 2 .. T-1
    mtp_loss_f64     [1]            the module's alone
    grad.<name>      F64            d loss / d parameter; embedding and head have what the module gives them too
"""

import json
import os
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

import deepseek_golden
import model_golden
from model_golden import B, T

WEIGHT = 0.3
MODELS = {  # name: (script whose exact arithmetic it shares, model_type, settings of the trunk)
    "deepseek_v3_mtp": (deepseek_golden, "deepseek_v3",
                        dict(num_hidden_layers=2, first_k_dense_replace=1, q_lora_rank=None, n_routed_experts=4, num_experts_per_tok=2,
                             n_shared_experts=1, n_group=2, topk_group=1, routed_scaling_factor=2.5, norm_topk_prob=True,
                             rope_parameters=deepseek_golden.PLAIN)),
    "qwen2_tied_mtp": (model_golden, "qwen2", dict(num_hidden_layers=2, tie_word_embeddings=True, rope_parameters=deepseek_golden.PLAIN)),
}


class Module(torch.nn.Module):
    """The module without its block, which is the last layer of a model that has one more."""

    def __init__(self, config, norm):
        super().__init__()
        self.enorm, self.hnorm = norm(config.hidden_size, config.rms_norm_eps), norm(config.hidden_size, config.rms_norm_eps)
        self.eh_proj = torch.nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.shared_head = torch.nn.Module()
        self.shared_head.norm = norm(config.hidden_size, config.rms_norm_eps)


def split(model, module):
    """Takes the last layer off the model and puts it beside the module's own parts."""
    module.block = model.model.layers[-1]
    model.model.layers = model.model.layers[:-1]
    model.config.num_hidden_layers -= 1


def logits_of(model, module, ids):
    hidden = model.model(ids).last_hidden_state
    embedded = model.model.embed_tokens(ids[:, 1:])
    x = module.eh_proj(torch.cat((module.enorm(embedded), module.hnorm(hidden[:, :-1])), -1))
    positions = torch.arange(x.shape[1])[None]
    block = module.block(x, attention_mask=None, position_ids=positions, position_embeddings=model.model.rotary_emb(x, positions))
    return model.lm_head(hidden), model.lm_head(module.shared_head.norm(block[0] if isinstance(block, tuple) else block))


def draw(modules, generator):
    with torch.no_grad():
        for name, tensor in sorted([item for m in modules for item in [*m.named_parameters(), *m.named_buffers()]], key=lambda item: item[0]):
            if "inv_freq" in name:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + 0.3 * noise if name.endswith("norm.weight") else 0.1 * noise if "correction_bias" in name else 0.4 * noise)


def write_golden(root, name):
    script, model_type, settings = MODELS[name]
    folder = os.path.join(root, name)
    os.makedirs(folder, exist_ok=True)
    for stale in os.listdir(folder):
        os.remove(os.path.join(folder, stale))
    layers = settings["num_hidden_layers"]
    config = transformers.AutoConfig.for_model(model_type, **{**script.COMMON, **settings, "num_hidden_layers": layers + 1})
    config._attn_implementation, config._experts_implementation = "sdpa", "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    module = Module(config, type(model.model.norm))
    seed = 0
    draw([model, module], torch.Generator().manual_seed(seed))
    ids = torch.randint(2, config.vocab_size, (B, T), generator=torch.Generator().manual_seed(1000 + seed))

    model.save_pretrained(folder)
    prefix = f"model.layers.{layers}."
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    tensors.update({prefix + key: value.detach() for key, value in module.named_parameters()})
    tensors[prefix + "embed_tokens.weight"] = model.model.embed_tokens.weight.detach().clone()
    tensors[prefix + "shared_head.head.weight"] = model.lm_head.weight.detach().clone()
    save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(folder, "config.json")) as file:
        written = json.load(file)
    written.update(num_hidden_layers=layers, num_nextn_predict_layers=1)
    if "layer_types" in written:
        written["layer_types"] = written["layer_types"][:layers]
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(written, file, indent=2)
        file.write("\n")
    generation_config = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation_config):
        os.remove(generation_config)

    split(model, module)
    with torch.no_grad():
        logits_f32, mtp_logits_f32 = logits_of(model, module, ids)
        # The trunk is the model that transformers reads from the folder, which ignores the module.
        eager = {"experts_implementation": "eager"} if script is deepseek_golden else {}
        read_back = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa", **eager).eval()
        assert torch.allclose(read_back(ids).logits, logits_f32, atol=1e-5), name
    holder = torch.nn.Module()  # so that make_exact meets the module's norms and gate too
    holder.model, holder.config, holder.lm_head, holder.mtp = model.model, model.config, model.lm_head, module
    script.make_exact(holder)
    logits_f64, mtp_logits_f64 = logits_of(model, module, ids)
    cross_entropy = torch.nn.functional.cross_entropy
    mtp_loss = cross_entropy(mtp_logits_f64[:, :-1].flatten(0, 1), ids[:, 2:].flatten())
    loss = cross_entropy(logits_f64[:, :-1].flatten(0, 1), ids[:, 1:].flatten()) + WEIGHT * mtp_loss
    loss.backward()
    expected = {"input_ids": ids, "logits_f64": logits_f64.detach(), "mtp_logits_f64": mtp_logits_f64.detach(),
                "mtp_logits_f32": mtp_logits_f32, "loss_f64": loss.detach()[None], "mtp_loss_f64": mtp_loss.detach()[None]}
    for key, grad in deepseek_golden.gradients(model):
        expected["grad." + key] = grad
    for key, grad in deepseek_golden.gradients(module):
        expected["grad." + prefix + key.removeprefix("block.")] = grad
    made_by = f"scripts/golden/mtp_golden.py with torch {torch.__version__}, transformers {transformers.__version__}, seed {seed}"
    save_file({key: value.contiguous() for key, value in expected.items()}, os.path.join(folder, "expected.safetensors"),
              {"made_by": made_by})
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)
    total = sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
    assert total < 220_000, f"{name} takes {total} bytes"
    error = (mtp_logits_f32.double() - mtp_logits_f64).abs().max().item()
    assert error < 1e-3, f"{name}: float64 differs from float32 by {error}"
    print(f"{name}: {total // 1000} kB, loss {loss.item():.6f}, of the module {mtp_loss.item():.6f}, float32 within {error:.1e} of float64")


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
