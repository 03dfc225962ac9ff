"""trl GRPOTrainer: one step, from prompts to the optimizer's update. Prints the seconds of the step.

Prompts and completions have exact lengths: the tokenizer is one word per token, and generation may not stop early. The
reward is a hash of the completion, so that advantages are not zero. Gradient checkpointing is off: trl is faster without.
"""

import hashlib
import os
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import datasets  # noqa: E402
import tokenizers  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from peer import SHAPES, arguments, random_ids, random_model, report  # noqa: E402

options = arguments(__doc__, prompts=8, completions=8, prompt=54, new=8)


def word_tokenizer(vocab_size):
    words = {f"w{i}": i for i in range(3, vocab_size)} | {"<bos>": 0, "<unk>": 1, "<eos>": 2}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<eos>",
                                                pad_token="<eos>", padding_side="left")


def reward(completions, **_):
    return [hashlib.sha256(text.encode()).digest()[0] % 2 for text in completions]


class StepClock(transformers.TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.start


ids = random_ids(options.shape, options.prompts, options.prompt)
dataset = datasets.Dataset.from_dict({"prompt": [" ".join(f"w{i}" for i in row) for row in ids.tolist()]})
clock = StepClock()
with tempfile.TemporaryDirectory() as folder:
    random_model(options.shape).save_pretrained(folder)  # trl loads the reference model from the policy's folder
    trainer = trl.GRPOTrainer(
        model=folder,
        reward_funcs=reward,
        train_dataset=dataset,
        processing_class=word_tokenizer(SHAPES[options.shape]["vocab_size"]),
        callbacks=[clock],
        args=trl.GRPOConfig(
            output_dir=folder, model_init_kwargs=dict(dtype="float32"), use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, max_steps=1,
            per_device_train_batch_size=options.prompts * options.completions, gradient_accumulation_steps=1,
            num_generations=options.completions, max_completion_length=options.new,
            generation_kwargs=dict(min_new_tokens=options.new), beta=0.001, temperature=1.0, learning_rate=1e-6,
            shuffle_dataset=False, report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True))
    trainer.train()
logged = next(entry for entry in trainer.state.log_history if "completions/mean_length" in entry)
assert logged["completions/mean_length"] == options.new, logged
assert logged["num_tokens"] == options.prompts * options.completions * (options.prompt + options.new), logged
report("grpo", options, {"trl": trl.__version__}, seconds=clock.seconds)
