"""Transformers' `generate`, at its fastest on a CPU: the peer of the sampler bench.

No stop token, so every row runs to its full length and no logits processor is in the way; top-k
and top-p off; weights in f32; one thread a core. A prompt is prefilled once a sample: `generate`
has no other way to draw several.
"""

import os
import time

import torch
import transformers


def load(directory):
    """A model of Hugging Face format in f32, ready to generate."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.generation_config.eos_token_id = None
    return model.eval()


def seconds(model, prompts_PT, *, samples, new_tokens):
    """Wall time of drawing `samples` continuations of each prompt ([P, T] token ids)."""
    tokens_PT = torch.as_tensor(prompts_PT, dtype=torch.long)
    start = time.perf_counter()
    with torch.inference_mode():
        rows_BT = model.generate(
            input_ids=tokens_PT,
            attention_mask=torch.ones_like(tokens_PT),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=samples,
            min_new_tokens=None,
            max_new_tokens=new_tokens,
            pad_token_id=0,
        )
    elapsed = time.perf_counter() - start
    P, T = tokens_PT.shape
    if tuple(rows_BT.shape) != (P * samples, T + new_tokens):
        raise RuntimeError(f"generate returned {tuple(rows_BT.shape)}: a row stopped early")
    return elapsed
