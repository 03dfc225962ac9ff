#!/usr/bin/env python3
"""Golden numbers for GRPO: one rollout, two minibatches, plain PyTorch in float64.

    python scripts/golden/grpo_golden.py tests/golden/algo/grpo.json

The policy is a linear model: logits[b,t] = features[b,t] @ W; log-probabilities are log_softmax of them. Rollout
log-probabilities come from a sampler that is a little off, old ones from W0, reference ones from another W. Minibatch 1 is
on-policy, then W takes one SGD step, minibatch 2 is off-policy, so ratios leave 1 and clips act. Everything is padded
[B, T] with explicit loops over completions, written from the papers and not from our C++: the two share no formula.
Prompt tokens do not exist here; completions have uneven lengths, one is empty, the rest of a row is padding.
"""
import json
import math
import sys

import torch

torch.set_default_dtype(torch.float64)
P, G, T, C, V = 2, 6, 7, 4, 9
LENGTHS = [[7, 3, 5, 0, 1, 6], [2, 7, 4, 4, 6, 3]]
REWARDS = [[1.0, 0.0, 0.1, 0.0, 1.1, 0.1], [0.0, 1.0, 1.0, 0.1, 1.1, 0.0]]
# completions of minibatch 1 and 2: both mix the groups, as a shuffled rollout does
MINIBATCHES = [[0, 7, 3, 9, 4, 11], [6, 1, 8, 2, 10, 5]]
LR = 40.0

SETTINGS = {
    "deepseek_math": dict(aggregation="token_in_sequence", clip_low=0.2, clip_high=0.2, kl_coef=0.04),
    "r1_eps_10": dict(aggregation="token_in_sequence", clip_low=10.0, clip_high=10.0, kl_coef=0.001),
    "dapo": dict(aggregation="token", clip_low=0.2, clip_high=0.28, kl_coef=0.0),
    "dapo_dual_clip_kl": dict(aggregation="token", clip_low=0.1, clip_high=0.15, kl_coef=0.5, dual_clip=1.2),
    "dr_grpo": dict(aggregation="constant", clip_low=0.2, clip_high=0.2, kl_coef=0.01, constant_length=T, std="none"),
    "r1_literal": dict(aggregation="sequence", ratio_level="sequence_product", clip_low=0.2, clip_high=0.3, kl_coef=0.1),
    "gspo": dict(aggregation="sequence", ratio_level="sequence_mean", clip_low=0.03, clip_high=0.04, kl_coef=0.0),
    "gspo_token_sum": dict(aggregation="token", ratio_level="sequence_mean", clip_low=0.03, clip_high=0.04, kl_coef=0.2),
    "tis": dict(aggregation="token_in_sequence", clip_low=0.2, clip_high=0.2, kl_coef=0.02, tis_cap=1.05),
    "tis_gspo": dict(aggregation="sequence", ratio_level="sequence_mean", clip_low=0.2, clip_high=0.2, kl_coef=0.0,
                     tis_cap=1.01),
    "k1": dict(aggregation="token_in_sequence", clip_low=0.2, clip_high=0.2, kl_coef=0.3, kl_estimator="k1"),
    "k2_rloo": dict(aggregation="token", clip_low=0.2, clip_high=0.2, kl_coef=0.3, kl_estimator="k2", std="none",
                    baseline="leave_one_out"),
    "sample_std": dict(aggregation="token", clip_low=0.2, clip_high=0.2, kl_coef=0.0, std="sample"),
}


def log_probs(features, weight, ids):
    return torch.log_softmax(features @ weight, -1).gather(-1, ids[..., None])[..., 0]


def advantages(setting):
    rows = []
    for rewards in REWARDS:
        row = []
        for i, r in enumerate(rewards):
            others = rewards[:i] + rewards[i + 1:]
            base = sum(rewards) / G if setting.get("baseline", "mean") == "mean" else sum(others) / (G - 1)
            row.append(r - base)
        mean = sum(rewards) / G
        squares = sum((r - mean) ** 2 for r in rewards)
        std = setting.get("std", "population")
        if std != "none":
            sigma = math.sqrt(squares / (G if std == "population" else G - 1)) + 1e-6
            row = [a / sigma for a in row]
        rows.extend(row)
    return rows


def kl(policy, reference, estimator):
    ratio = torch.exp(reference - policy)
    if estimator == "k1":
        return policy - reference
    if estimator == "k2":
        return 0.5 * (policy - reference) ** 2
    return ratio - torch.log(ratio) - 1


def surrogate(ratio, a, setting):
    clipped = torch.clamp(ratio, 1 - setting["clip_low"], 1 + setting["clip_high"])
    term = torch.minimum(ratio * a, clipped * a)
    if setting.get("dual_clip") and a < 0:
        term = torch.maximum(term, torch.tensor(setting["dual_clip"] * a))
    return term


def objective(policy, old, rollout, reference, lengths, adv, rows, setting):
    """The objective J (to be maximised) of one minibatch, a sum over its completions."""
    beta, estimator = setting["kl_coef"], setting.get("kl_estimator", "k3")
    level = setting.get("ratio_level", "token")
    cap = setting.get("tis_cap")
    total = sum(lengths[b] for b in rows)
    result = torch.zeros(())
    for b in rows:
        n = lengths[b]
        if n == 0:
            continue
        p, o, s, r = policy[b, :n], old[b, :n], rollout[b, :n], reference[b, :n]
        if level == "token":
            weight = [min(math.exp(x), cap) if cap else 1.0 for x in (o - s).tolist()]
            terms = [weight[t] * surrogate(torch.exp(p[t] - o[t]), adv[b], setting) for t in range(n)]
        else:
            scale = n if level == "sequence_mean" else 1
            weight = min(math.exp((o - s).sum().item() / scale), cap) if cap else 1.0
            terms = [weight * surrogate(torch.exp((p - o).sum() / scale), adv[b], setting)] * n
        kls = [kl(p[t], r[t], estimator) for t in range(n)]
        aggregation = setting["aggregation"]
        if aggregation == "sequence":
            result = result + (terms[0] - beta * kl(p.sum(), r.sum(), estimator)) / len(rows)
            continue
        divisor = {"token_in_sequence": len(rows) * n, "token": total, "constant": len(rows) * T}[aggregation]
        for t in range(n):
            result = result + (terms[t] - beta * kls[t]) / divisor
    return result


def main(path):
    generator = torch.Generator().manual_seed(7)
    randn = lambda *shape: torch.randn(*shape, generator=generator)
    B = P * G
    features = randn(B, T, C)
    ids = torch.randint(0, V, (B, T), generator=generator)
    w0 = 0.5 * randn(C, V)
    reference_w = w0 + 0.1 * randn(C, V)
    lengths = [n for row in LENGTHS for n in row]
    with torch.no_grad():
        old = log_probs(features, w0, ids)
        reference = log_probs(features, reference_w, ids)
        rollout = old + 0.05 * randn(B, T)
    cases = {}
    for name, setting in SETTINGS.items():
        adv = advantages(setting)
        weight = w0.clone()
        steps = []
        for rows in MINIBATCHES:
            weight = weight.detach().requires_grad_(True)
            policy = log_probs(features, weight, ids)
            policy.retain_grad()
            # Without an importance weight the old policy is the sampler's, as the papers have it.
            denominator = old if setting.get("tis_cap") else rollout
            loss = -objective(policy, denominator, rollout, reference, lengths, adv, rows, setting)
            loss.backward()
            steps.append(dict(loss=loss.item(), logprobs_grad=policy.grad.tolist(), weight_grad=weight.grad.tolist()))
            weight = weight.detach() - LR * weight.grad / max(1.0, weight.grad.norm().item() * LR / 0.8)
        cases[name] = dict(setting=setting, advantages=adv, steps=steps, weight_after=weight.tolist())
    golden = dict(made_by="scripts/golden/grpo_golden.py", torch=torch.__version__, lengths=lengths, rewards=REWARDS,
                  minibatches=MINIBATCHES, features=features.tolist(), ids=ids.tolist(), w0=w0.tolist(),
                  reference=reference.tolist(), old=old.tolist(), rollout=rollout.tolist(), lr=LR, cases=cases)
    with open(path, "w") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
