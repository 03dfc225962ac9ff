#!/usr/bin/env python3
"""Makes tests/golden/maths/pairs.jsonl: (gold, answer) pairs with the verdict of the PyPI package math-verify.

  scripts/golden/maths_golden.py [tests/golden/maths]      (Python with math-verify installed)

The first line holds the versions. The pairs come from the answers of data/gsm8k_train.jsonl and data/math_train.json, each
against itself in other forms (other LaTeX, a fraction as a decimal, a polynomial expanded or factored, a unit, "x =") and
against a wrong one, and from OWN below. Both sides go to math-verify as \\boxed{...}, the way a completion holds them.
"""
import importlib.metadata
import json
import logging
import pathlib
import random
import re
import sys

import sympy
from latex2sympy2_extended import latex2sympy
from math_verify import parse, verify

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/golden/maths"

# gold || answer, one pair a line
OWN = (pathlib.Path(__file__).with_name("maths_pairs.txt")).read_text(encoding="utf-8")


def own_pairs():
    for line in OWN.splitlines():
        if line and not line.startswith("#"):
            gold, answer = line.split(" || ")
            yield "own", gold, answer


def with_other_digit(text):
    """One digit changed: another value, unless it stands in a unit's power or a name."""
    at = [m.start() for m in re.finditer(r"\d", text)]
    if not at:
        return None
    i = at[-1]
    return text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1:]


def other_forms(gold):
    """(kind, text) that mean the same as a MATH answer."""
    yield "same", gold
    yield "dressed", "$" + gold.replace("\\frac", "\\dfrac").replace("  ", " ") + "$"
    slashes = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", gold)
    if slashes != gold and not re.search(r"\d\\[dt]?frac", gold):  # with brackets a mixed number is a product
        yield "slash", slashes
    simple = re.fullmatch(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}", gold)
    if simple:
        sign, above, below = simple.group(1), int(simple.group(2)), int(simple.group(3))
        yield "plain", f"{sign}{above}/{below}"
        yield "decimal", f"{sign}{above / below:.10g}"
        yield "unreduced", f"{sign}\\frac{{{3 * above}}}{{{3 * below}}}"
    if re.fullmatch(r"-?\d+", gold):
        yield "point", gold + ".0"
        yield "named", "x = " + gold
        yield "unit", gold + "\\text{ cm}"
        yield "sum", f"{int(gold) - 7} + 7"
    if re.search(r"[a-z]", re.sub(r"\\[a-z]+", "", gold)) and not re.search(r"[=<>,i]|\\text|\\mbox|begin|_", gold):
        try:
            expr = latex2sympy(gold)
            yield "expanded", sympy.latex(sympy.expand(expr))
            yield "factored", sympy.latex(sympy.factor(expr))
        except Exception:
            pass
    wrong = with_other_digit(gold)
    if wrong:
        yield "wrong digit", wrong


def math_pairs(rng):
    answers = sorted({row["answer"].strip() for row in json.loads((ROOT / "data/math_train.json").read_text(encoding="utf-8"))
                      if isinstance(row["answer"], str) and row["answer"].strip()})
    whole = [a for a in answers if re.fullmatch(r"-?\d+", a)]
    others = [a for a in answers if a not in set(whole)]
    for gold in sorted(rng.sample(whole, 30) + rng.sample(others, 220)):
        for kind, answer in other_forms(gold):
            yield kind, gold, answer


def gsm8k_pairs(rng):
    golds = [json.loads(line)["answer"].split("####")[1].strip()
             for line in (ROOT / "data/gsm8k_train.jsonl").read_text(encoding="utf-8").splitlines()]
    plain = sorted(set(golds) - {g for g in golds if "," in g})
    for gold in rng.sample(plain, 25) + sorted({g for g in golds if "," in g})[:15]:
        number = gold.replace(",", "")
        for answer in (gold, "\\$" + gold, number + ".00", number + "\\text{ dollars}", number + "\\text{ apples}", str(int(float(number)) + 1)):
            yield "gsm8k", gold, answer


def verdict(gold, answer):
    return verify(*(parse("\\boxed{" + text + "}", parsing_timeout=60) for text in (gold, answer)), timeout_seconds=60)


def main():
    logging.disable(logging.CRITICAL)
    rng = random.Random(1)
    versions = {name: importlib.metadata.version(name) for name in ("math-verify", "latex2sympy2_extended", "sympy")}
    lines, seen = [json.dumps({"versions": versions})], set()
    for kind, gold, answer in [*own_pairs(), *gsm8k_pairs(rng), *math_pairs(rng)]:
        if (gold, answer) in seen:
            continue
        seen.add((gold, answer))
        lines.append(json.dumps({"kind": kind, "gold": gold, "answer": answer, "math_verify": verdict(gold, answer)}))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(seen)} pairs, {versions}")


if __name__ == "__main__":
    main()
