#!/usr/bin/env python3
"""Holds tests/golden/algo/grpo.json against a third implementation: the loss of TRL's GRPOTrainer (trl 1.16), float64.

    python scripts/golden/grpo_vs_trl.py tests/golden/algo/grpo.json

TRL's _compute_loss is called with the model's log-probabilities handed in; its loss and d loss / d logprobs are compared
with the golden's, for the settings that TRL has. TRL knows no per-completion term, so `sequence` with sequence_mean is its
loss_type grpo at sequence level (the same policy part), and `token` is its dapo.
"""
import json
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
import trl
from trl.trainer.grpo_trainer import GRPOTrainer

LOSS_TYPES = {"token_in_sequence": "grpo", "sequence": "grpo", "token": "dapo", "constant": "dr_grpo"}


def supported(s):
    return (s.get("kl_estimator", "k3") == "k3" and s.get("ratio_level") != "sequence_product"
            and not (s["aggregation"] == "sequence" and s["kl_coef"] > 0))


def trl_loss(setting, policy, old, rollout, reference, mask, advantages):
    trainer = MagicMock()
    trainer.top_entropy_quantile, trainer.off_policy_mask_threshold = 1.0, None
    trainer.importance_sampling_level = "sequence" if setting.get("ratio_level") == "sequence_mean" else "token"
    trainer.beta, trainer.loss_type = setting["kl_coef"], LOSS_TYPES[setting["aggregation"]]
    trainer.epsilon_low, trainer.epsilon_high = setting["clip_low"], setting["clip_high"]
    trainer.args = SimpleNamespace(delta=setting.get("dual_clip"), use_bias_correction_kl=False,
                                   steps_per_generation=1, report_to=[])
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = "tis_cap" in setting
    trainer.model.training, trainer.current_gradient_accumulation_steps = True, 1
    trainer.max_completion_length, trainer.accelerator.num_processes = policy.size(1), 1
    trainer._entropy_bonus_enabled = trainer.aux_loss_enabled = False
    trainer.accelerator.gather = lambda x: x
    trainer._get_per_token_logps_and_entropies = lambda *a, **k: (policy, torch.zeros_like(policy), None)
    inputs = dict(prompt_ids=torch.zeros(policy.size(0), 1, dtype=torch.long),
                  prompt_mask=torch.ones(policy.size(0), 1), completion_ids=torch.zeros(policy.shape, dtype=torch.long),
                  completion_mask=mask, advantages=advantages, old_per_token_logps=old, ref_per_token_logps=reference,
                  num_items_in_batch=mask.sum())
    if "tis_cap" in setting:
        log_weight = (old - rollout) * mask
        if setting.get("ratio_level") == "sequence_mean":
            log_weight = (log_weight.sum(-1) / mask.sum(-1).clamp(min=1)).unsqueeze(-1)
        inputs["importance_sampling_ratio"] = log_weight.exp().clamp(max=setting["tis_cap"])
    return GRPOTrainer._compute_loss(trainer, None, inputs)


def main(path):
    torch.set_default_dtype(torch.float64)
    golden = json.load(open(path))
    tensor = lambda name: torch.tensor(golden[name])
    features, ids, lengths = tensor("features"), tensor("ids"), tensor("lengths")
    positions = torch.arange(ids.size(1))
    compared, worst_of_all = 0, 0.0
    for name, case in golden["cases"].items():
        setting = case["setting"]
        if not supported(setting):
            print(f"{name:20} TRL has no such setting")
            continue
        weight, worst = tensor("w0"), 0.0
        for rows, step in zip(golden["minibatches"], case["steps"]):
            policy = torch.log_softmax(features @ weight, -1).gather(-1, ids[..., None])[..., 0].requires_grad_(True)
            pick = lambda x: x[torch.tensor(rows)]
            mask = (positions < pick(lengths)[:, None]).double()
            old = tensor("old") if "tis_cap" in setting else tensor("rollout")
            loss = trl_loss(setting, pick(policy), pick(old), pick(tensor("rollout")), pick(tensor("reference")), mask,
                            pick(torch.tensor(case["advantages"])))
            loss.backward()
            worst = max(worst, abs(loss.item() - step["loss"]),
                        (policy.grad - torch.tensor(step["logprobs_grad"])).abs().max().item())
            gradient = torch.tensor(step["weight_grad"])
            weight = weight - golden["lr"] * gradient / max(1.0, gradient.norm().item() * golden["lr"] / 0.8)
        print(f"{name:20} largest difference {worst:.1e}")
        compared, worst_of_all = compared + 1, max(worst_of_all, worst)
    print(f"trl {trl.__version__}: {compared} settings, largest difference {worst_of_all:.1e}")
    return 0 if compared and worst_of_all < 1e-12 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
