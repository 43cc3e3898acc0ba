"""The kinds of models there are, and how each is stored: a line here, and files for the rest."""

from collections.abc import Callable
from typing import NamedTuple

from jaxrl.models import decoder, encoder, encoder_families, families, qwen3_vl, vl_families


class Form(NamedTuple):
    """How one kind of model is stored."""

    specs: Callable  # its config -> the parameter tree as specs
    names: dict  # path in that tree -> (Hugging Face name, layout)
    to_hf: Callable  # its config -> config.json
    generates: bool = True  # text: it has a generation_config.json
    files: Callable = lambda c: {}  # its config -> {further file: JSON}


FORMS = {
    decoder.Config: Form(decoder.specs, families.NAMES, families.to_hf),
    qwen3_vl.Config: Form(
        qwen3_vl.specs, vl_families.NAMES, vl_families.to_hf, files=vl_families.processors
    ),
    encoder.Config: Form(encoder.specs, encoder_families.NAMES, encoder_families.to_hf, False),
}


def specs(c):
    """The parameter tree of any config in FORMS, as specs."""
    return FORMS[type(c)].specs(c)


def from_hf(hf, stored):
    """config.json as a dict -> the config it describes. stored() gives the tensors' names."""
    if hf.get("model_type") == vl_families.TYPE:
        return vl_families.from_hf(hf, has_head=vl_families.HEAD in stored())
    if hf.get("model_type") in encoder_families.DEFAULTS:
        return encoder_families.from_hf(hf)
    return families.from_hf(hf)
