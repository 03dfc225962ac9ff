#!/usr/bin/env python3
"""Compares r1's forward pass and greedy decoding with transformers on a GGUF model of the Llama architecture.

    .venv-peers/bin/python scripts/compare_model.py --r1 build/release/src/apps/r1 \\
        --gguf data/cache/smollm2-135m-instruct.gguf [--lengths 16,64,200,384,512] [--greedy 64] [--loader]

The oracle is transformers' LlamaForCausalLM in float32, filled with the tensors as PyPI `gguf` dequantises them. llama.cpp
stores rows of q and k in another order; that is undone here by the formula of its converter, so that neither r1's reader nor
transformers' own is taken at its word (--loader compares with the latter too). r1 reads the file itself.

Printed, and exit code 1 when a bound is broken:
  logits     max |ours - theirs| / max |theirs| over all positions and the whole vocabulary, per prompt; bound 1e-4
  logprobs   the same for log p(ids[t] | ids[< t]), transformers' from its logits in float64; bound 1e-4
  argmax     positions at which the likeliest token differs; bound 0
  cached     token-by-token decoding with the KV cache against the whole forward pass: differing float32 values; bound 0
  float64    distance of each float32 result to r1 in float64: max |. - f64| / max |f64|, ours and theirs
  greedy     tokens of the greedy continuation that differ; bound 0
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file

BOUND = 1e-4
NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
       "output.weight": "lm_head.weight"}
STORY = ("Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her dog Max. One day "
         "they saw a big red ball under a tree, and Max ran to fetch it. \"Look, Lily!\" said her friend Tom. \"Can I play too?\" "
         "They were happy and played until the sun went down. ")
TEXTS = [  # prose, code, arithmetic, a chat, other scripts; each is repeated with a number until it is long enough
    STORY,
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n\n",
    "12 + 7 = 19\n35 + 48 = 83\n27 + 56 = 83\n91 - 45 = 46\n",
    "<|im_start|>user\nHow many legs have three dogs and a bird?<|im_end|>\n<|im_start|>assistant\nThree dogs have 12 legs, "
    "the bird has 2, so 14 in all.<|im_end|>\n",
    "The caf\u00e9 in Z\u00fcrich opens at 8:30. \u041c\u043e\u0441\u043a\u0432\u0430, \u6771\u4eac and \u0391\u03b8\u03ae\u03bd\u03b1 are far away. ",
]


def field(reader, key, default=None):
    return reader.fields[key].contents() if key in reader.fields else default


def build_oracle(path):
    reader = gguf.GGUFReader(path)
    arch = field(reader, "general.architecture")
    if arch != "llama":
        sys.exit(f"{path}: general.architecture is {arch}; accepted: llama")
    heads = field(reader, "llama.attention.head_count")
    kv_heads = field(reader, "llama.attention.head_count_kv", heads)
    width = field(reader, "llama.embedding_length")
    state = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name in TOP:
            name = TOP[tensor.name]
        else:
            _, layer, kind, suffix = tensor.name.split(".")
            name = f"model.layers.{layer}.{NAMES[kind]}.{suffix}"
            if kind in ("attn_q", "attn_k"):  # convert_hf_to_gguf: (H, 2, D/2) rows become (H, D/2, 2)
                count = heads if kind == "attn_q" else kv_heads
                rows = values.shape[0]
                values = values.reshape(count, rows // count // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    tied = "lm_head.weight" not in state
    config = transformers.LlamaConfig(
        vocab_size=state["model.embed_tokens.weight"].shape[0], hidden_size=width,
        intermediate_size=field(reader, "llama.feed_forward_length"), num_hidden_layers=field(reader, "llama.block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads, tie_word_embeddings=tied,
        max_position_embeddings=field(reader, "llama.context_length"),
        rms_norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field(reader, "llama.rope.freq_base", 10000.0)})
    model = transformers.LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or [name for name in missing if not (tied and name == "lm_head.weight")]:
        sys.exit(f"{path}: tensors do not fit LlamaForCausalLM: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    return model


def r1(args, *words, stdin=""):
    done = subprocess.run([args.r1, *words], input=stdin, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"r1 {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def relative(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def compare_forward(args, model, ids):
    lines = "".join(json.dumps({"ids": row}) + "\n" for row in ids)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "logits.safetensors")
        ours = r1(args, "logprobs", "--model", args.gguf, "--logits", path, stdin=lines)
        logits = load_file(path)
    cached = r1(args, "logprobs", "--cached", "--model", args.gguf, stdin=lines)
    exact = r1(args, "logprobs", "--dtype", "float64", "--model", args.gguf, stdin=lines)
    print("| prompt | tokens | logits | logprobs | argmax differs | cached differs | logprobs to float64: ours, theirs |")
    print("|---|---|---|---|---|---|---|")
    ok = True
    for i, row in enumerate(ids):
        with torch.no_grad():
            theirs = model(torch.tensor([row])).logits[0]
        mine = logits[f"logits.{i + 1}"]
        their_logprobs = theirs.double().log_softmax(-1)[:-1].gather(1, torch.tensor(row[1:])[:, None])[:, 0]
        our_logprobs = torch.tensor(ours[i]["logprobs"], dtype=torch.float32)
        exact_logprobs = torch.tensor(exact[i]["logprobs"], dtype=torch.float64)
        figures = (relative(mine, theirs), relative(our_logprobs, their_logprobs),
                   int((mine.argmax(-1) != theirs.argmax(-1)).sum()),
                   int((torch.tensor(cached[i]["logprobs"], dtype=torch.float32) != our_logprobs).sum()),
                   relative(our_logprobs, exact_logprobs), relative(their_logprobs, exact_logprobs))
        print("| {} | {} | {:.1e} | {:.1e} | {} | {} | {:.1e}, {:.1e} |".format(i + 1, len(row), *figures), flush=True)
        ok = ok and figures[0] <= BOUND and figures[1] <= BOUND and figures[2] == 0 and figures[3] == 0
    return ok


def compare_greedy(args, model, prompt):
    row = r1(args, "generate", "--model", args.gguf, "--prompt", prompt, "--temperature", "0", "--max-tokens", str(args.greedy),
             "--ignore-eos", "--json")[0]
    ids = torch.tensor([row["prompt_ids"]])
    with torch.no_grad():
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=args.greedy,
                                min_new_tokens=args.greedy, eos_token_id=None, pad_token_id=0)[0, ids.shape[1]:].tolist()
    differing = sum(a != b for a, b in zip(row["ids"], theirs)) + abs(len(row["ids"]) - len(theirs))
    print(f"greedy: {len(theirs)} tokens after {prompt!r}, {differing} differ: {row['completion']!r}", flush=True)
    return differing == 0


def compare_loader(path, model):
    folder, name = os.path.split(os.path.abspath(path))
    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).state_dict()
    worst = max((relative(loaded[name], value), name) for name, value in model.state_dict().items())
    print(f"transformers' own GGUF loader: largest relative difference of a weight {worst[0]:.1e} ({worst[1]})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--r1", required=True)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--lengths", default="16,64,200,384,512", help="tokens of the prompts, at most the model's context")
    parser.add_argument("--greedy", type=int, default=64)
    parser.add_argument("--loader", action="store_true", help="also compare with transformers' own reading of the file")
    args = parser.parse_args()
    model = build_oracle(args.gguf)
    context = model.config.max_position_embeddings
    lengths = [min(int(n), context) for n in args.lengths.split(",")]
    texts = ["".join(f"{text}{k} " for k in range(n)) for text, n in zip(TEXTS, lengths)]
    rows = r1(args, "tokenize", "--tokenizer", args.gguf, stdin="".join(json.dumps({"text": text}) + "\n" for text in texts))
    ids = [row["ids"][:n] for row, n in zip(rows, lengths)]
    print(f"{args.gguf}: {sum(p.numel() for p in model.parameters()):,} parameters, context {context}; "
          f"transformers {transformers.__version__}, torch {torch.__version__}, gguf {version('gguf')}")
    ok = compare_forward(args, model, ids)
    for prompt in ("Once upon a time", "The sum of 12 and 30 is"):
        ok = compare_greedy(args, model, prompt) and ok
    if args.loader:
        compare_loader(args.gguf, model)
    print("all bounds are kept" if ok else "A BOUND IS BROKEN")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
