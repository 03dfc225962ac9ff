#!/usr/bin/env python3
"""Makes tests/golden/tokenizer: texts, the ids that the PyPI packages give them, and vocabularies cut down to what these
texts need.

  scripts/golden/tokenizer_golden.py --vocab VOCAB      (what VOCAB holds: scripts/compare_tokenizers.py --help)

A cut vocabulary keeps the original ids and gives these texts the same tokens as the full one: byte-pair encoding applies
the best rule of those that apply, so leaving out rules that were never the best changes nothing. Kept are all single
bytes, every token that some text uses, and what its own encoding passes through.

The variants are small vocabularies trained here, one per kind of pre-tokenizer, normalizer and added token.
"""
import argparse
import base64
import importlib.metadata
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import compare_tokenizers as compare  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/tokenizer"


def byte_level_alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(0x100 + i) for i, b in enumerate(others)}}


ALPHABET = byte_level_alphabet()
BYTES = {c: b for b, c in ALPHABET.items()}


def merge_steps(symbols, rank):
    """Yields each merge (left, right) of byte-pair encoding, in order; rank gives a pair's rank or None."""
    symbols = list(symbols)
    while True:
        pairs = [(rank(a, b), i) for i, (a, b) in enumerate(zip(symbols, symbols[1:])) if rank(a, b) is not None]
        if not pairs:
            return
        _, i = min(pairs)
        yield symbols[i], symbols[i + 1]
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]


def cut_ranks(ranks, all_ids):
    by_id = {i: t for t, i in ranks.items()}
    keep = {t for t in ranks if len(t) == 1} | {by_id[max(by_id)]}
    for i in set(all_ids) & set(by_id):
        keep.add(by_id[i])
        parts = [by_id[i][j:j + 1] for j in range(len(by_id[i]))]
        keep.update(a + b for a, b in merge_steps(parts, lambda a, b: ranks.get(a + b)))
    return sorted((ranks[t], t) for t in keep)


def cut_merges(vocab, merges, all_ids):
    """The tokens and merges that are needed; all spelled in the byte-level alphabet."""
    by_id = {i: t for t, i in vocab.items()}
    rank = {tuple(m): i for i, m in enumerate(merges)}
    keep = {t for t in vocab if t in BYTES} | {by_id[max(by_id)]}
    used = set()
    for i in set(all_ids) & set(by_id):
        keep.add(by_id[i])
        for a, b in merge_steps(by_id[i], lambda a, b: rank.get((a, b))):
            used.add((a, b))
            keep.update((a, b, a + b))
    return {t: vocab[t] for t in sorted(keep, key=vocab.get)}, [list(m) for m in sorted(used, key=rank.get)]


def write(name, value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n"
    (OUT / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(text.encode()) / 1024:.0f} KB")


def write_tiktoken(name, path, encode, texts):
    ids = [encode(t) for t in texts]
    lines = [f"{base64.b64encode(t).decode()} {i}\n"
             for i, t in cut_ranks(compare.ranks_of(path), {i for row in ids for i in row})]
    write(f"{name}.tiktoken", "".join(lines))
    return ids


def split_merge(merge):
    return merge if isinstance(merge, list) else merge.split(" ")


def write_deepseek(path, encode, texts):
    ids = [encode(t) for t in texts]
    file = json.loads(path.read_text("utf-8"))
    used = {i for row in ids for i in row}
    file["added_tokens"] = [t for t in file["added_tokens"] if "place" not in t["content"] or t["id"] in used]
    file["model"]["vocab"], file["model"]["merges"] = cut_merges(
        file["model"]["vocab"], [split_merge(m) for m in file["model"]["merges"]], used)
    write("deepseek-v3.json", file)
    return ids


def write_gguf(name, path, encode, texts, pre):
    import gguf
    fields = gguf.GGUFReader(str(path)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    ids = [encode(t) for t in texts]
    merges = [split_merge(m) for m in fields["tokenizer.ggml.merges"].contents()]
    vocab, merges = cut_merges({t: i for i, t in enumerate(tokens)}, merges, {i for row in ids for i in row})
    control = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind == 3}
    write(f"{name}.json", {"pre": pre, "size": len(tokens), "control": control, "vocab": vocab,
                           "merges": [" ".join(m) for m in merges],
                           "chat_template": fields["tokenizer.chat_template"].contents()})
    return ids


def sentencepiece_ids(path, texts):
    """Pieces and scores of a 'llama' GGUF, given to the sentencepiece package as a model of its own format."""
    import gguf
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    fields = gguf.GGUFReader(str(path)).fields
    tokens, scores, types = (fields[f"tokenizer.ggml.{k}"].contents() for k in ("tokens", "scores", "token_type"))
    model = pb.ModelProto()
    model.trainer_spec.model_type = pb.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(tokens)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    for token, score, kind in zip(tokens, scores, types):
        model.pieces.add(piece=token, score=score, type=kind)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    ids = [processor.encode(t) for t in texts]
    write("stories260k.json", {"tokens": tokens, "scores": [round(s, 6) for s in scores], "types": types})
    return ids


# ---------------------------------------------------------------- variants

def variants(corpus, texts):
    """Small tokenizers that differ in how they cut and change text, each with its ids."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def split(pattern, behavior, invert=False):
        return pre_tokenizers.Split(pattern, behavior, invert)

    cuts = {f"split {b}": [split(Regex(r"\d+|[A-Z]"), b)] for b in
            ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")}
    cuts |= {f"split inverted {b}": [split(Regex(r"\w+"), b, True)] for b in ("isolated", "removed", "merged_with_next")}
    cuts |= {"split string": [split("a.", "removed")],
             "digits": [pre_tokenizers.Digits(individual_digits=False)],
             "whitespace": [pre_tokenizers.Whitespace()],
             "whitespace split": [pre_tokenizers.WhitespaceSplit()],
             "punctuation": [pre_tokenizers.Punctuation()],
             "prefix space": [pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)]}
    changes = {"nfd": normalizers.NFD(), "nfkc": normalizers.NFKC(),
               "lower strip": normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip()]),
               "replace prepend": normalizers.Sequence([normalizers.Replace("a", "bb"), normalizers.Prepend("_")])}
    tokens = {"plain": AddedToken("<x>", special=True), "left": AddedToken("<x>", lstrip=True, special=True),
              "right": AddedToken("<x>", rstrip=True, special=True), "both": AddedToken("<x>", lstrip=True, rstrip=True),
              "word": AddedToken("the", single_word=True, normalized=False),
              "normalized": AddedToken("É x", normalized=True)}

    def made(steps, normalizer=None, added=(), ignore_merges=False, post=None):
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, *([] if any(
            isinstance(s, pre_tokenizers.ByteLevel) for s in steps) else [byte_level])])
        tokenizer.decoder = decoders.ByteLevel()
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
            vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        tokenizer.add_tokens(list(added))
        if post:
            tokenizer.post_processor = post(tokenizer)
        return tokenizer

    def metaspace(scheme, split_words):
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split_words)
        tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
                                               *([decoders.Strip(" ", 1, 0)] if scheme != "never" else [])])
        pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
        tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
            vocab_size=420, special_tokens=pieces, show_progress=False))
        file = json.loads(tokenizer.to_str())
        file["added_tokens"] = [t for t in file["added_tokens"] if t["id"] < 3]
        tokenizer = Tokenizer.from_str(json.dumps(file))
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
        return tokenizer

    every = {name: made(steps) for name, steps in cuts.items()}
    every |= {name: made([split(Regex(r"\s+"), "isolated")], change) for name, change in changes.items()}
    every |= {f"added {name}": made([split(Regex(r"\s+"), "merged_with_next")], normalizers.NFD() if name == "normalized" else None,
                                    [token]) for name, token in tokens.items()}
    every["added longest"] = made([], None, ["<a", "<ab>", AddedToken("<a>", special=True), "<abc"])
    every["ignore merges"] = made([split(Regex(r"\s+"), "isolated")], ignore_merges=True)
    every["template"] = made([split(Regex(r"\s+"), "isolated")], None, [AddedToken("<s>", special=True), AddedToken("</s>", special=True)],
                             post=lambda t: processors.TemplateProcessing("<s> $A </s>", "<s> $A $B </s>", [
                                 (s, t.token_to_id(s)) for s in ("<s>", "</s>")]))
    every["metaspace always"] = metaspace("always", True)
    every["metaspace first"] = metaspace("first", False)
    every["metaspace never"] = metaspace("never", True)
    return [{"name": name, "tokenizer": json.loads(t.to_str()),
             "ids": [t.encode(text, add_special_tokens=True).ids for text in texts]} for name, t in every.items()]


VARIANT_TEXTS = [
    "", " ", "a", "the cat", " the  cat sat\ton 12 mats. A1B22 C", "the<x>the <x> cat  <x>  sat<x>", "other the, then the.the_",
    "É x E\u0301 x \u00e9\u0301 ﬁ ① Ⅷ ²", "<a <ab> <a> <abc <abcd <ab", "  leading and trailing  ", "ÀÉÎõü ŞİIı ǅ", "a.b a. a.a.",
    "<s>in</s> the text", "snow ☃ 🙂 漢字 カタカナ", "line\nbreak\r\n\r\nend\n", "hello world hello world", "word\u2581under_score\u00a0nbsp",
    "1234567890 ١٢٣ Ⅻ", "!?...,;:--++==~~^^``$$", "A", "BB CC", "12", "a12B", "\u3000wide\u2003space\u0085", "Él x<x>",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--stories", required=True, help="stories260K.gguf")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    texts = [t[:48] for _, t in compare.make_texts(256, seed=7)] + ["", " ", "\n", "a" * 300, " " * 200 + "x", "=" * 150]
    cases = compare.cases(args.vocab)
    oracle = {name: next(iter(oracles.values()))() for name, (_, oracles) in cases.items()}
    path = {name: pipe_args[0] for name, (pipe_args, _) in cases.items()}
    ids = {
        "gpt2": write_tiktoken("gpt2", path["GPT-2"], oracle["GPT-2"], texts),
        "qwen2": write_tiktoken("qwen2", path["Qwen2"], oracle["Qwen2"], texts),
        "llama3": write_tiktoken("llama3", path["Llama 3"], oracle["Llama 3"], texts),
        "smollm2": write_gguf("smollm2", path["SmolLM2"], oracle["SmolLM2"], texts, "smollm"),
        "deepseek-v3": write_deepseek(path["DeepSeek V3"], oracle["DeepSeek V3"], texts),
    }
    plain = [t for t in texts if "<" not in t]  # sentencepiece knows no control tokens in a text
    ids_of_stories = sentencepiece_ids(pathlib.Path(args.stories), plain)
    corpus = [t for kind, t in compare.make_texts(3000, seed=11) if kind in ("code", "prose", "scripts")] + VARIANT_TEXTS * 3
    write("variants.json", {"texts": VARIANT_TEXTS, "variants": variants(corpus, VARIANT_TEXTS)})
    packages = ("tokenizers", "tiktoken", "gguf", "sentencepiece")

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return getattr(__import__(package), "__version__", "unknown")
    write("ids.json", {"made_by": "scripts/golden/tokenizer_golden.py", "versions": {p: version(p) for p in packages},
                       "texts": texts, "ids": ids, "stories260k": {"texts": plain, "ids": ids_of_stories}})


if __name__ == "__main__":
    main()
