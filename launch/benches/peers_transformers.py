"""Transformers' `generate`, at its fastest on a CPU: the peer of the sampler bench.

No stop token, so every row runs to its full length and no logits processor is in the way; top-k
and top-p off; weights in f32; one thread a core. A prompt is prefilled once a sample: `generate`
has no other way to draw several.
"""

import os

import torch
import transformers


class Model:
    """A model directory of Hugging Face format, loaded in f32."""

    def __init__(self, directory):
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        load = transformers.AutoModelForCausalLM.from_pretrained
        self._model = load(directory, dtype=torch.float32).eval()
        self._model.generation_config.eos_token_id = None

    def sample(self, prompts_PT, *, samples, new_tokens):
        """Draws `samples` continuations of each prompt ([P, T] token ids)."""
        tokens_PT = torch.as_tensor(prompts_PT, dtype=torch.long)
        with torch.inference_mode():
            rows_BT = self._model.generate(
                input_ids=tokens_PT,
                attention_mask=torch.ones_like(tokens_PT),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=samples,
                max_new_tokens=new_tokens,
                pad_token_id=0,
            )
        P, T = tokens_PT.shape
        if tuple(rows_BT.shape) != (P * samples, T + new_tokens):
            raise RuntimeError(f"generate returned {tuple(rows_BT.shape)}: a row stopped early")

    def close(self):
        """Nothing to end: it runs in this process."""
