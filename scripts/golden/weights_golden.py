#!/usr/bin/env python3
"""Oracle of the weight readers: PyPI `gguf` and `safetensors`.

    .venv-peers/bin/python scripts/golden/weights_golden.py tests/golden/weights
    .venv-peers/bin/python scripts/golden/weights_golden.py compare MODEL.gguf DIR

The second form compares every tensor of DIR/*.safetensors (float32, written by `r1 import`) with MODEL.gguf dequantised by
`gguf`, rows of q and k put back into HF order, bit for bit; it exits with 1 when any differs.

quantization.safetensors holds for each type T `T.blocks` (U8) and `T.values` (F32, what gguf.quants.dequantize gives). Blocks
are random bytes, with scales drawn as float16 so that zero, subnormal and negative ones occur and products stay finite.
`q8_0.input` (F32) quantizes to `q8_0.quantized` (U8).
"""
import glob
import importlib.metadata as metadata
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file

# type -> byte offsets of the float16 fields of its block
HALF_FIELDS = {"F16": [0], "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
               "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "BF16": [], "F32": []}
BLOCKS = {"F16": 64, "BF16": 64, "F32": 16}


def random_blocks(rng, name):
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    count = BLOCKS.get(name, 6)
    if name == "F32":
        return rng.standard_normal(count).astype(np.float32).view(np.uint8).reshape(count, size)
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "BF16":  # finite only: NaN payloads are nobody's promise
        bits = blocks.view(np.uint16)
        bits[(bits & 0x7F80) == 0x7F80] &= 0xBFFF
        return blocks
    for offset in HALF_FIELDS[name]:
        exponents = rng.integers(-8, 2, count)
        halves = (rng.standard_normal(count) * 10.0 ** exponents).astype(np.float16)
        halves[0] = 0.0
        halves[1] = np.float16(6e-8)  # the smallest subnormal
        blocks[:, offset:offset + 2] = halves.view(np.uint8).reshape(count, 2)
    return blocks


def make(folder):
    rng = np.random.default_rng(20250101)
    out = {}
    for name in HALF_FIELDS:
        kind = gguf.GGMLQuantizationType[name]
        blocks = random_blocks(rng, name)
        out[name + ".blocks"] = blocks.reshape(-1).copy()
        out[name + ".values"] = gguf.quants.dequantize(blocks, kind).astype(np.float32).reshape(-1)
    values = (rng.standard_normal((12, 32)) * 10.0 ** rng.integers(-6, 4, (12, 1))).astype(np.float32)
    values[0] = 0.0
    values[1] = np.arange(-16, 16) * 0.5 * 127 / 63.5  # ties: q of n + 0.5 where the scale is exact
    values[2, :] = 127.0
    values[2, :16] = np.arange(16) + 0.5
    out["q8_0.input"] = values.reshape(-1)
    out["q8_0.quantized"] = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0).reshape(-1)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "quantization.safetensors")
    # One entry: safetensors writes several in an order that changes from run to run.
    made_by = ", ".join(f"{name} {metadata.version(name)}" for name in ("gguf", "numpy", "safetensors"))
    save_file(out, path, {"made_by": "scripts/golden/weights_golden.py with " + made_by})
    os.chmod(path, 0o644)


HF_OF_GGUF = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
              "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
              "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
              "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name):
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{HF_OF_GGUF[parts[2]]}.{parts[3]}"
    return f"{TOP[parts[0]]}.{parts[1]}"


def unpermute(weight, heads):
    """The inverse of the permutation of llama.cpp's convert_hf_to_gguf.py."""
    rows = weight.shape[0]
    return weight.reshape(heads, rows // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def compare(model, folder):
    reader = gguf.GGUFReader(model)

    def field(key):
        part = reader.fields[key]
        return part.parts[part.data[0]][0]

    arch = bytes(reader.fields["general.architecture"].parts[-1]).decode()
    heads, kv_heads = field(f"{arch}.attention.head_count"), field(f"{arch}.attention.head_count_kv")
    ours = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors")) if os.path.isdir(folder) else [folder]):
        ours.update(load_file(path))
    wrong, seen, types = [], 0, {}
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            continue
        name = hf_name(tensor.name)
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        expected = expected.reshape([int(n) for n in reversed(tensor.shape)])
        if arch == "llama" and ".q_proj." in name:
            expected = unpermute(expected, heads)
        if arch == "llama" and ".k_proj." in name:
            expected = unpermute(expected, kv_heads)
        found = ours.pop(name, None)
        if found is None or found.shape != expected.shape or found.tobytes() != expected.tobytes():
            wrong.append(name)
        seen += 1
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
    print(f"{model}: {seen} tensors {types}; not equal bit for bit: {wrong or 'none'}; superfluous: {list(ours) or 'none'}")
    return 1 if wrong or ours else 0


if __name__ == "__main__":
    if len(sys.argv) == 2:
        make(sys.argv[1])
    elif len(sys.argv) == 4 and sys.argv[1] == "compare":
        sys.exit(compare(sys.argv[2], sys.argv[3]))
    else:
        sys.exit(__doc__)
