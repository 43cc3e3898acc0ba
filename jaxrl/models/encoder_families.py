"""What checkpoints of encoders call things: config keys, tensor names and tensor layouts.

BERT, RoBERTa and XLM-RoBERTa share one name table. Layouts are written as in families.py.
"""

from jaxrl.models import encoder


def _affine(ours, theirs, layout="o i -> i o", bias="d -> d"):
    """A matrix or a norm's scale, and the bias that goes with it."""
    beside = (*ours[:-1], ours[-1] + "_bias")
    return {ours: (f"{theirs}.weight", layout), beside: (f"{theirs}.bias", bias)}


def _names():
    """Our path -> (Hugging Face name, layout)."""
    layer = "encoder.layer.{}"
    attention, heads = f"{layer}.attention", ("(h n) d -> d h n", "(h n) -> h n")
    return {
        ("embed",): ("embeddings.word_embeddings.weight", "v d -> v d"),
        ("position",): ("embeddings.position_embeddings.weight", "p d -> p d"),
        ("type",): ("embeddings.token_type_embeddings.weight", "t d -> t d"),
        **_affine(("norm",), "embeddings.LayerNorm", "d -> d"),
        **_affine(("layers", "q"), f"{attention}.self.query", *heads),
        **_affine(("layers", "k"), f"{attention}.self.key", *heads),
        **_affine(("layers", "v"), f"{attention}.self.value", *heads),
        **_affine(("layers", "o"), f"{attention}.output.dense", "d (h n) -> h n d"),
        **_affine(("layers", "attn_norm"), f"{attention}.output.LayerNorm", "d -> d"),
        **_affine(("layers", "up"), f"{layer}.intermediate.dense"),
        **_affine(("layers", "down"), f"{layer}.output.dense"),
        **_affine(("layers", "mlp_norm"), f"{layer}.output.LayerNorm", "d -> d"),
    }


NAMES = _names()
COMMON = {"max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12}
COMMON |= {"pad_token_id": 0}
DEFAULTS = {  # what transformers assumes where config.json is silent
    "bert": COMMON,
    "roberta": COMMON | {"pad_token_id": 1},
    "xlm-roberta": COMMON | {"pad_token_id": 1},
}
ARCHITECTURES = {
    "bert": "BertModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
}
SWITCHES = {  # keys whose other values would change the forward pass -> the value we compute
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "quantization_config": None,
}
REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
REQUIRED += ("num_attention_heads",)


def from_hf(hf):
    """config.json as a dict -> encoder.Config. Refuses what the encoder does not compute."""
    for key in REQUIRED:
        if key not in hf:
            raise ValueError(f"config.json lacks {key!r}: add it, or fetch the checkpoint again")
    for key, only in SWITCHES.items():
        if key in hf and hf[key] != only:
            raise ValueError(f"config.json has {key}={hf[key]!r}: only {only!r} is supported")
    hf = DEFAULTS[hf["model_type"]] | hf
    first = 0 if hf["model_type"] == "bert" else hf["pad_token_id"] + 1
    return encoder.Config(
        V=hf["vocab_size"],
        D=hf["hidden_size"],
        L=hf["num_hidden_layers"],
        H=hf["num_attention_heads"],
        F=hf["intermediate_size"],
        context=hf["max_position_embeddings"] - first,
        types=hf["type_vocab_size"],
        first=first,
        norm_eps=hf["layer_norm_eps"],
    )


def to_hf(c):
    """encoder.Config -> config.json as a dict."""
    kind = "roberta" if c.first else "bert"
    pad = {"pad_token_id": c.first - 1} if c.first else {}  # RoBERTa counts positions from it
    return pad | {
        "architectures": [ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": c.V,
        "hidden_size": c.D,
        "num_hidden_layers": c.L,
        "num_attention_heads": c.H,
        "intermediate_size": c.F,
        "hidden_act": "gelu",
        "layer_norm_eps": c.norm_eps,
        "max_position_embeddings": c.first + c.context,
        "type_vocab_size": c.types,
        "position_embedding_type": "absolute",
    }
