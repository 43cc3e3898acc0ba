"""One optimisation step of TRL's `GRPOTrainer` on a CPU: the peer of the train-step bench.

The settings are the fastest honest ones we found: f32 as ours, gradient checkpointing off, no
reference model (beta 0), one iteration (so no second pass for old log-probs), nothing saved, logged
or reported, every completion at full length. The reward is a constant-time function of the text.
"""

import os
import tempfile
import time

import datasets
import torch
import transformers
import trl


class StepTimer(transformers.TrainerCallback):
    """Seconds from the start of each optimisation step (sampling included) to its end."""

    def __init__(self):
        self.seconds = []
        self._start = 0.0

    def on_step_begin(self, args, state, control, **kwargs):
        self._start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds.append(time.perf_counter() - self._start)


def reward(completions, **columns):
    """Differs between samples, so that no group's advantages vanish."""
    return [float(len(text) % 7) for text in completions]


def step_seconds(directory, prompts, *, samples, new_tokens, micro, steps=1):
    """Seconds of each of `steps` GRPO updates over all prompts (texts), `micro` rows at a time."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    timer = StepTimer()
    with tempfile.TemporaryDirectory() as out:
        trainer = trl.GRPOTrainer(
            model=transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32),
            processing_class=transformers.AutoTokenizer.from_pretrained(directory),
            reward_funcs=reward,
            args=_config(out, len(prompts) * samples, samples, new_tokens, micro, steps),
            train_dataset=datasets.Dataset.from_dict({"prompt": list(prompts)}),
            callbacks=[timer],
        )
        trainer.train()
    return timer.seconds


def _config(out, rows, samples, new_tokens, micro, steps):
    if rows % micro:
        raise ValueError(f"micro = {micro} must divide the {rows} rows of a step")
    return trl.GRPOConfig(
        output_dir=out,
        max_steps=steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=rows // micro,
        num_generations=samples,
        max_completion_length=new_tokens,
        generation_kwargs={"min_new_tokens": new_tokens},  # the stop token is never drawn
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        beta=0.0,
        num_iterations=1,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
