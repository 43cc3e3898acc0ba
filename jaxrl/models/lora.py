"""Low-rank adapters (LoRA, arXiv:2106.09685): W + (α / r) A B on chosen matrices of the decoder.

Adapters are a tree of their own, stacked over layers as the decoder's parameters are:

    adapters = spec.init(lora.specs(model, c), key)       # B is zero: nothing changes at first
    decoder.forward(lora.attached(params, adapters, c), ...)   # gradients reach the adapters alone
    decoder.forward(lora.merged(params, adapters, c), ...)     # the same numbers, one product each

model is a decoder, or has one for its text: Qwen3-VL, whose tower then stays as it is. params may
be held in fewer bits (models/frozen.py); files are those of `peft` (peft_files.py).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxrl.models import decoder, qwen3_vl
from jaxrl.models.layers import Adapted, Quantized, dense
from jaxrl.models.spec import Spec, stack

TARGETS = decoder.MATRICES


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """The `model.lora` keys of a config; rank 0 trains all parameters instead."""

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = TARGETS
    adapter: str = ""  # directory of a peft adapter to start from

    def __post_init__(self):
        if self.rank < 0:
            raise ValueError(f"model.lora.rank={self.rank}: give 0 (no adapters) or more")
        if not self.alpha > 0:
            raise ValueError(f"model.lora.alpha={self.alpha}: give a number above 0")
        wrong = [t for t in self.targets if t not in TARGETS]
        if wrong or not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(
                f"model.lora.targets={self.targets}: give some of {', '.join(TARGETS)}, each once"
            )
        if self.adapter and not self.rank:
            raise ValueError(
                f"model.lora.adapter={self.adapter!r} with model.lora.rank=0, which trains all "
                "parameters: set model.lora.rank to the adapter's, or leave the adapter out"
            )

    @property
    def scale(self):
        """α / r."""
        return self.alpha / self.rank


def text_decoder(model):
    """The decoder.Config of what adapters change in a model; refuses one without a decoder."""
    if isinstance(model, decoder.Config):
        return model
    if isinstance(model, qwen3_vl.Config):
        return model.text
    raise ValueError(
        "the model is an encoder, and adapters are for the matrices of a decoder: set "
        "model.lora.rank=0, which trains all parameters"
    )


def check(model, c):
    """Refuses targets that the model lacks, and a rank above that of a matrix it is to change."""
    model = text_decoder(model)
    tree = decoder.specs(model)["layers"]
    if model.E and (absent := [t for t in c.targets if t in ("gate", "up", "down")]):
        raise ValueError(
            f"model.lora.targets={c.targets}: {', '.join(absent)} are experts here, which have no "
            "adapters; leave them out"
        )
    for t in c.targets:
        sizes = tree[t].shape[1:]
        into, out = math.prod(sizes[: tree[t].fan_in]), math.prod(sizes[tree[t].fan_in :])
        if c.rank > min(into, out):
            raise ValueError(
                f"model.lora.rank={c.rank} is above the rank of the target {t!r}, a matrix of "
                f"{into} × {out}: give at most {min(into, out)}, or leave {t!r} out of "
                "model.lora.targets"
            )


def specs(model, c):
    """{"layers": {target: {"a": [L, in.., r], "b": [L, r, out..]}}} as specs."""
    model = text_decoder(model)
    tree = decoder.specs(model)["layers"]
    one = lambda s: dataclasses.replace(s, shape=s.shape[1:], axes=s.axes[1:])
    return {"layers": stack({t: _pair(one(tree[t]), c.rank) for t in c.targets}, model.L)}


def attached(params, adapters, c):
    """The decoder's parameters with Adapted matrices in the place of the targets.

    What else is trained beside the adapters, such as a head, comes along. Computes nothing.
    """
    pair = lambda t, x: Adapted(params["layers"][t], x["a"], x["b"], c.scale)
    changed = {t: pair(t, x) for t, x in adapters["layers"].items()}
    return params | adapters | {"layers": params["layers"] | changed}


def merged(params, adapters, c, dtype=jnp.float32):
    """The decoder's parameters as plain arrays of `dtype`, the changes added in, in f32."""

    def add(w, x):
        w, wide = dense(w), lambda x: x.astype(jnp.float32)
        change = jnp.einsum("lir,lro->lio", wide(columns(x["a"])), wide(rows(x["b"])))
        return (w + (c.scale * change).reshape(w.shape)).astype(dtype)

    layers = params["layers"]
    changed = {t: add(layers[t], x) for t, x in adapters["layers"].items()}
    plain = {name: dense(w, dtype) for name, w in layers.items() if name not in changed}
    rest = {name: w for name, w in params.items() if name != "layers"}  # "visual" is a tree
    whole = lambda x: isinstance(x, Quantized)
    rest = jax.tree.map(lambda w: dense(w, dtype), rest, is_leaf=whole)
    return rest | {"layers": plain | changed}


def columns(a):
    """[L, in.., r] -> [L, in, r]."""
    return a.reshape(a.shape[0], -1, a.shape[-1])


def rows(b):
    """[L, r, out..] -> [L, r, out]."""
    return b.reshape(*b.shape[:2], -1)


def _pair(s, rank):
    """The two specs of a matrix: `fan_in` leading axes come in, the rest go out."""
    into, out = slice(0, s.fan_in), slice(s.fan_in, None)
    a = Spec((*s.shape[into], rank), (*s.axes[into], "rank"), fan_in=s.fan_in)
    return {"a": a, "b": Spec((rank, *s.shape[out]), ("rank", *s.axes[out]), "zeros")}
