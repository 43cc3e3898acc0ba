"""What the report draws of a run's metrics, and in which colours."""

import dataclasses

INK, GRID, BLUE, ORANGE = "#5b6470", "#e3e6ea", "#2563b8", "#c2571a"  # as the page's light theme
TEAL, GOLD, PURPLE, GREY, RED = "#2a9d8f", "#b38a1d", "#8a63c9", "#9aa3ad", "#b3261e"
LINES = (BLUE, ORANGE, TEAL, GOLD, PURPLE, GREY)  # of one chart, in turn
VARIABLES = {INK: "--muted", GRID: "--line", BLUE: "--series-1", ORANGE: "--series-2"}
VARIABLES |= {TEAL: "--stage-2", GOLD: "--stage-5", PURPLE: "--stage-4", GREY: "--stage-6"}
VARIABLES |= {RED: "--wrong"}


@dataclasses.dataclass(frozen=True)
class Panel:
    """One small chart: its title, and the series it draws as (metric name, label)."""

    title: str
    series: tuple[tuple[str, str], ...]
    unit: str
    log: bool = False


PANELS = (
    Panel("Reward", (("reward/utility", "utility"), ("reward/mean", "reward")), "per rollout"),
    Panel("Response length", (("length/mean", "mean"), ("length/max", "longest")), "tokens"),
    Panel("Entropy", (("policy/entropy", "entropy"),), "nats per token"),
    Panel("KL", (("policy/ref_kl", "to reference"), ("policy/kl", "to sampler")), "nats per token"),
    Panel(
        "Sampler gap",
        (("sampler/gap_max", "largest"), ("sampler/gap_mean", "mean")),
        "|Δ log-prob| to the learner, same weights",
        log=True,
    ),
    Panel("Gradient norm", (("optim/grad_norm", "norm"),), "before clipping"),
    Panel("Throughput", (("tokens/per_second", "tokens/s"),), "tokens per second"),
    Panel("Loss", (("policy/loss", "minimized"),), "per token in the loss"),
    Panel("Turns", (("agent/turns", "turns"), ("agent/calls", "calls")), "mean of an episode"),
    Panel(
        "Calls in vain",
        (("agent/malformed", "unreadable"), ("agent/refused", "refused")),
        "tool calls of an update",
    ),
    Panel("Position bias", (("judge/first_wins", "share"),), "calls the first shown won; ½ = none"),
    Panel(
        "Ties",
        (("judge/ties", "ties"), ("judge/neutral", "unread")),
        "matches, judgements of an update",
    ),
)
ENDINGS = (
    ("answer", TEAL),
    ("turns", GOLD),
    ("reply", ORANGE),
    ("tokens", PURPLE),
    ("time", GREY),
    ("failed", RED),
)
