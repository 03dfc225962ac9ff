"""Golden numbers for a whole GRPO step: loss and every parameter's gradient through a transformers model.

    .venv-peers/bin/python scripts/golden/grpo_step_golden.py tests/golden/grpo_step

Two minibatches of two prompts with three completions each, of uneven lengths, one of them empty. Every completion is a row
of its own with its prompt and padding behind: nothing is packed and nothing is shared. The rewards' advantages, the ratios,
the clip and the k3 estimate are loops over completions written from the papers (DeepSeekMath eq. (3), (4); DAPO eq. (8)).
After minibatch 1 the weights take one step of plain gradient descent, so that minibatch 2 is off-policy.

The policy is a model of tests/golden/model; the reference has its weights times 7/8, rounded to float32.
<name>.safetensors holds, for i = 0, 1 and the temperature, coefficients and rate in the metadata,

    prompts, completions [.., T] I64       padded with -1; rows 0..1 (prompts) and 0..5 (completions) are minibatch 0
    advantages [12], rollout_logprobs [12, T] F64    float32 values: the sampler's, a little off the policy's
    loss.<i> [1], kl.<i> [1], clipped.<i> [2]        float64: loss, mean of k3 per token, tokens clipped below and above
    grad.<i>.<parameter>                             float64
    error.<i>.<parameter>, error.<i> [1]             of the same in float32 by plain PyTorch: max |a - b| / max |b|; loss: |a - b|
"""

import os
import sys

import torch
import transformers
from model_golden import make_exact
from safetensors.torch import save_file

MODELS = {"llama_tied_llama3_rope": "token_in_sequence", "qwen3_qk_norm": "token"}
PROMPT_LENGTHS = [5, 9, 3, 7]
LENGTHS = [7, 1, 4, 12, 3, 0, 6, 2, 11, 5, 1, 8]  # three completions per prompt
PROMPTS, GROUP, VOCAB = 4, 3, 48
TEMPERATURE, KL_COEF, CLIP_LOW, CLIP_HIGH, RATE = 0.8, 0.05, 0.2, 0.28, 0.02


def load(root, name, dtype):
    folder = os.path.join(root, "..", "model", name)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()


def make_reference(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter.float() * 0.875).to(parameter.dtype))
    return model


def token_logprobs(model, prompts, completions, minibatch):
    """For each completion of the minibatch, a vector with the log-probability of each of its tokens."""
    rows = range(minibatch * 6, minibatch * 6 + 6)
    texts = [prompts[r // GROUP] + completions[r] for r in rows]
    longest = max(map(len, texts))
    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    logprobs = torch.log_softmax(model(ids, attention_mask=mask).logits / TEMPERATURE, -1)
    out = []
    for i, r in enumerate(rows):
        start = len(prompts[r // GROUP])
        out.append(torch.stack([logprobs[i, start + t - 1, token] for t, token in enumerate(completions[r])])
                   if completions[r] else logprobs.new_zeros(0))
    return out


def loss_of(aggregation, policy, reference, rollout, advantages, dtype):
    total_tokens = sum(len(p) for p in policy)
    loss, kl_sum, below, above, nearest = torch.zeros((), dtype=dtype), 0.0, 0, 0, 1.0
    for p, q, old, advantage in zip(policy, reference, rollout, advantages):
        terms = torch.zeros((), dtype=dtype)
        for t in range(len(p)):
            ratio = torch.exp(p[t] - old[t].to(dtype))
            clipped = torch.clamp(ratio, 1 - CLIP_LOW, 1 + CLIP_HIGH)
            a = advantage.to(dtype)
            k3 = torch.exp(q[t] - p[t]) - (q[t] - p[t]) - 1
            terms = terms + torch.minimum(ratio * a, clipped * a) - KL_COEF * k3
            kl_sum += k3.item()
            below += int(a < 0 and ratio < 1 - CLIP_LOW)
            above += int(a > 0 and ratio > 1 + CLIP_HIGH)
            nearest = min(nearest, abs(ratio.item() - 1 + CLIP_LOW), abs(ratio.item() - 1 - CLIP_HIGH))
        if len(p) > 0:
            loss = loss - (terms / len(p) / len(policy) if aggregation == "token_in_sequence" else terms / total_tokens)
    return loss, kl_sum / total_tokens, (below, above), nearest


def step(aggregation, model, reference, data, dtype):
    """Both minibatches, with the update between them."""
    prompts, completions, rollout, advantages = data
    out = []
    for i in range(2):
        model.zero_grad()
        with torch.no_grad():
            of_reference = token_logprobs(reference, prompts, completions, i)
        policy = token_logprobs(model, prompts, completions, i)
        loss, kl, clipped, nearest = loss_of(aggregation, policy, of_reference, rollout[6 * i:6 * i + 6], advantages[6 * i:6 * i + 6], dtype)
        loss.backward()
        out.append((loss.item(), kl, clipped, nearest, {n: p.grad.clone() for n, p in model.named_parameters()}))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= RATE * parameter.grad
    return out


def padded(rows, fill, dtype):
    longest = max(map(len, rows))
    return torch.tensor([list(row) + [fill] * (longest - len(row)) for row in rows], dtype=dtype)


def is_clear_case(steps):
    """Both clips act in both minibatches, and no ratio is so near a bound that float32 may decide otherwise."""
    return all(min(clipped) > 0 and nearest > 1e-3 for _, _, clipped, nearest, _ in steps)


def make_case(root, name, aggregation, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda count: torch.randint(2, VOCAB, (count,), generator=generator).tolist()
    prompts, completions = [draw(n) for n in PROMPT_LENGTHS], [draw(n) for n in LENGTHS]
    advantages = torch.randn(len(LENGTHS), generator=generator)  # float32
    exact = make_exact(load(root, name, torch.float32))
    with torch.no_grad():
        rollout = [p.float() + 0.4 * torch.randn(p.shape, generator=generator) for i in range(2) for p in token_logprobs(exact, prompts, completions, i)]
    data = prompts, completions, rollout, advantages
    in_f64 = step(aggregation, exact, make_reference(make_exact(load(root, name, torch.float32))), data, torch.float64)
    return data, in_f64


def write_golden(root, name, aggregation):
    data, in_f64 = next(case for seed in range(100) if is_clear_case((case := make_case(root, name, aggregation, seed))[1]))
    prompts, completions, rollout, advantages = data
    in_f32 = step(aggregation, load(root, name, torch.float32), make_reference(load(root, name, torch.float32)), data, torch.float32)

    expected = {"prompts": padded(prompts, -1, torch.int64), "completions": padded(completions, -1, torch.int64),
                "advantages": advantages.double(), "rollout_logprobs": padded([r.tolist() for r in rollout], 0.0, torch.float64)}
    worst = 0.0
    for i, ((loss, kl, clipped, _, gradients), (loss_f32, *_, gradients_f32)) in enumerate(zip(in_f64, in_f32)):
        expected |= {f"loss.{i}": torch.tensor([loss], dtype=torch.float64), f"kl.{i}": torch.tensor([kl], dtype=torch.float64),
                     f"clipped.{i}": torch.tensor(clipped, dtype=torch.float64), f"error.{i}": torch.tensor([abs(loss_f32 - loss)], dtype=torch.float64)}
        for parameter, gradient in gradients.items():
            error = ((gradients_f32[parameter].double() - gradient).abs().max() / gradient.abs().max()).item()
            worst = max(worst, error)
            expected |= {f"grad.{i}.{parameter}": gradient.contiguous(), f"error.{i}.{parameter}": torch.tensor([error], dtype=torch.float64)}
    metadata = {"settings": f"aggregation={aggregation} temperature={TEMPERATURE} kl_coef={KL_COEF} clip_low={CLIP_LOW} clip_high={CLIP_HIGH} rate={RATE}; "
                            f"scripts/golden/grpo_step_golden.py with torch {torch.__version__}, transformers {transformers.__version__}"}
    file = os.path.join(root, name + ".safetensors")
    save_file(expected, file, metadata)
    os.chmod(file, 0o644)
    print(f"{name}: {os.path.getsize(file) // 1000} kB, losses {[r[0] for r in in_f64]}, k3 {[r[1] for r in in_f64]}, clipped {[r[2] for r in in_f64]}, "
          f"nearest bound {min(r[3] for r in in_f64):.1e}, float32: losses within {[abs(a[0] - b[0]) for a, b in zip(in_f64, in_f32)]}, "
          f"gradients within {worst:.1e}")


def main(root):
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name, aggregation in MODELS.items():
        write_golden(root, name, aggregation)


if __name__ == "__main__":
    main(sys.argv[1])
