"""Tunix's own JAX sampler, in a virtual environment of its own: a peer of the sampler bench.

It pins other versions of Transformers than ours, so it is installed into .venv-tunix (with our JAX)
and runs as a worker process: a line of JSON in is a case, a line out says that it is done. Its
Llama model takes SmolLM2's shape (tied head) from the same Hugging Face directory, in f32. The
settings are its fastest: top-p and top-k off, no log-probs, no stop token, a warm compile. It has
no way to share a prompt between samples: prompts are repeated, as Tunix's own trainers do.
"""

import json
import pathlib
import subprocess
import sys

VERSION = "0.1.7"
ROOT = pathlib.Path(__file__).parent.parent.parent
VENV = ROOT / ".venv-tunix"


class Worker:
    """A running Tunix process over one model directory; close it when done."""

    def __init__(self, directory):
        install()
        command = [VENV / "bin" / "python", __file__, directory]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def sample(self, prompts_PT, *, samples, new_tokens):
        """Draws `samples` continuations of each prompt ([P, T] token ids)."""
        case = {"prompts": [list(map(int, p)) for p in prompts_PT]}
        case |= {"samples": samples, "new_tokens": new_tokens}
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        if not self._process.stdout.readline():
            raise RuntimeError("the Tunix worker ended; its error stands above")

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def install():
    """Makes .venv-tunix once, with the JAX of this environment."""
    import jax

    stamp = VENV / "installed"
    wanted = f"google-tunix=={VERSION} jax=={jax.__version__} jaxlib=={jax.__version__}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing google-tunix {VERSION} into {VENV} (once, a few minutes)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([VENV / "bin" / "pip", "install", "-qq", *wanted.split()], check=True)
    stamp.write_text(wanted)


class TokenIds:
    """What Tunix's sampler asks of a tokenizer, where the text is a list of ids already."""

    def encode(self, text):
        return list(map(int, text.split()))

    def decode(self, ids):
        return ""

    def bos_id(self):
        return 0  # Tunix then prepends none

    def eos_id(self):
        return 2

    def pad_id(self):
        return 0


def serve(directory):
    """The worker: reads cases from stdin and draws them."""
    config, model = _load(directory)
    compiled = {}
    for line in sys.stdin:
        case = json.loads(line)
        texts = [" ".join(map(str, p)) for p in case["prompts"] for _ in range(case["samples"])]
        shape = len(texts), len(case["prompts"][0]), case["new_tokens"]
        if shape not in compiled:
            compiled[shape] = _sampler(model, config, *shape[1:])
        drawn = compiled[shape](texts, seed=0)
        if {len(t) for t in drawn.tokens} != {case["new_tokens"]}:
            raise RuntimeError("a row stopped early")
        print("done", flush=True)


def _load(directory):
    import jax.numpy as jnp
    from tunix.models.llama3 import model, params

    c = json.loads((pathlib.Path(directory) / "config.json").read_text())
    config = model.ModelConfig(
        num_layers=c["num_hidden_layers"],
        vocab_size=c["vocab_size"],
        embed_dim=c["hidden_size"],
        hidden_dim=c["intermediate_size"],
        num_heads=c["num_attention_heads"],
        head_dim=c["hidden_size"] // c["num_attention_heads"],
        num_kv_heads=c["num_key_value_heads"],
        rope_theta=_rope_theta(c),
        norm_eps=c["rms_norm_eps"],
        weight_tying=c["tie_word_embeddings"],
    )
    return config, params.create_model_from_safe_tensors(directory, config, dtype=jnp.float32)


def _rope_theta(c):  # Transformers 5 moved the key
    return int(c["rope_theta"] if "rope_theta" in c else c["rope_parameters"]["rope_theta"])


def _sampler(model, config, prompt, new_tokens):
    from tunix.generate import sampler

    cache = sampler.CacheConfig(
        prompt + new_tokens, config.num_layers, config.num_kv_heads, config.head_dim
    )
    draw = sampler.Sampler(model, TokenIds(), cache)
    return lambda texts, seed: draw(
        texts,
        max_generation_steps=new_tokens,
        max_prompt_length=prompt,
        temperature=1.0,
        top_p=1.0,
        eos_tokens=[-1],
        seed=seed,
    )


if __name__ == "__main__":
    serve(sys.argv[1])
