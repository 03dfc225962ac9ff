"""What the peers' scripts share: the two model shapes, the threads, and the JSON line that each prints."""

import argparse
import json
import sys
import time

import torch
import transformers

SHAPES = {
    # SmolLM2-135M (config of HuggingFaceTB/SmolLM2-135M-Instruct); 134.5M parameters with the tied embedding
    "smollm2": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                    num_key_value_heads=3, vocab_size=49152, tie_word_embeddings=True, max_position_embeddings=8192,
                    rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=100000.0)),
    # a few million parameters, character vocabulary; 2.7M parameters
    "tiny": dict(hidden_size=192, intermediate_size=512, num_hidden_layers=6, num_attention_heads=6,
                 num_key_value_heads=6, vocab_size=64, tie_word_embeddings=True, max_position_embeddings=1024,
                 rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=10000.0)),
}


def arguments(description, **defaults):
    """--shape, --threads and one integer option per default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--threads", type=int, default=2)
    for name, value in defaults.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def random_model(shape):
    """Speed does not depend on the weights' values; seeded, so that every run draws the same tokens."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SHAPES[shape], bos_token_id=0, eos_token_id=2, pad_token_id=2)
    config._attn_implementation = "sdpa"
    return transformers.LlamaForCausalLM(config).float()


def random_ids(shape, rows, columns):
    return torch.randint(3, SHAPES[shape]["vocab_size"], (rows, columns), generator=torch.Generator().manual_seed(1))


def seconds_of(function, repeats):
    """The seconds of each call, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def report(name, options, extra_versions=None, **numbers):
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__}
    versions.update(extra_versions or {})
    print(json.dumps({"name": name, **numbers, "options": vars(options), "versions": versions}), flush=True)
