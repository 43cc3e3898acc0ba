"""The `model.lora` and `model.base` settings of a run, checked before anything is computed."""

from jaxrl.models import frozen, lora, peft_files


def settings(c):
    """The LoraConfig of a run; refuses what no model could do."""
    adapters = lora.LoraConfig(**c.model.lora)
    if c.model.base not in frozen.PRECISIONS:
        known = ", ".join(frozen.PRECISIONS)
        raise ValueError(f"model.base={c.model.base!r}: give one of {known}")
    if c.model.base != "float32" and not adapters.rank:
        raise ValueError(
            f"model.base={c.model.base!r} is of a frozen base, but model.lora.rank=0 trains all "
            "parameters: set model.lora.rank, or leave model.base at float32"
        )
    return adapters


def check(c, model):
    """Refuses adapters that do not fit the model, or a directory that holds others than asked."""
    lora.check(model, c)
    if not c.adapter:
        return
    try:
        found = peft_files.load(c.adapter, model)[1]
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"model.lora.adapter={c.adapter!r}: {error}") from error
    for key in ("rank", "alpha", "targets"):
        asked, has = getattr(c, key), getattr(found, key)
        if (set(asked) != set(has)) if key == "targets" else (asked != has):
            raise ValueError(
                f"model.lora.{key}={asked}, but model.lora.adapter={c.adapter!r} was made with "
                f"{has}: set model.lora.{key}={has}"
            )
