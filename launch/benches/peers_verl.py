"""verl's own estimators and losses: the peer of the estimators bench, and of tests.

verl asks for other versions of torch and Transformers than ours, so it is unpacked into .venv-verl
with the six packages that its import needs, and none of their dependencies; torch and the rest come
from the bench extra. Only `verl.trainer.ppo.core_algos` is used, in this process.
"""

import pathlib
import subprocess
import sys

import numpy as np

PACKAGES = (
    "verl==0.9.1",
    "codetiming==1.4.0",
    "omegaconf==2.4.0",
    "orjson==3.13.0",
    "pyvers==0.2.3",
    "ray==2.60.0",
    "tensordict==0.15.3",
)
ROOT = pathlib.Path(__file__).parent.parent.parent
TARGET = ROOT / ".venv-verl"

# Our name: verl's name, and its options where they are not the defaults.
NAMES = {
    "grpo": ("grpo", {}),
    "dr_grpo": ("grpo", {"norm_adv_by_std_in_grpo": False}),
    "grpo_passk": ("grpo_passk", {}),
    "gdpo": ("gdpo", {}),
    "rloo": ("rloo", {}),
    "opo": ("opo", {}),
    "gpg": ("gpg", {}),
    "remax": ("remax", {}),
    "gae": ("gae", {"gamma": 1.0, "lam": 1.0}),
    "reinforce_plus_plus": ("reinforce_plus_plus", {}),
    "reinforce_plus_plus_baseline": ("reinforce_plus_plus_baseline", {}),
    "optimal_token_baseline": ("optimal_token_baseline", {"handle_zero_tail": False}),
    "tir_optimal_token_baseline": ("tir_optimal_token_baseline", {"handle_zero_tail": False}),
}


def install():
    """Fills .venv-verl once, and puts it behind everything else on the path."""
    stamp, wanted = TARGET / "installed", " ".join(PACKAGES)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {PACKAGES[0]} into {TARGET} (once, a minute)", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--upgrade"]
        subprocess.run([*pip, "--target", TARGET, *PACKAGES], check=True)
        stamp.write_text(wanted)
    if str(TARGET) not in sys.path:
        sys.path.append(str(TARGET))


def algorithms():
    """The module with verl's estimators and losses."""
    install()
    from verl.trainer.ppo import core_algos

    return core_algos


def loss(name, logp, old_logp, adv, mask, *, average="token-mean", **options):
    """(loss, its gradient by logp [B, T]) of verl's policy loss of that name, from numpy arrays."""
    import torch

    core = algorithms()
    config = object.__new__(core.ActorConfig)  # some losses insist on the class; none on the rest
    for key, value in {"global_batch_info": {}, **options}.items():
        object.__setattr__(config, key, value)
    logp, old_logp, adv, mask = (torch.from_numpy(x) for x in (logp, old_logp, adv, mask))
    logp.requires_grad_()
    fn = core.get_policy_loss_fn(name)
    total, _ = fn(old_logp, logp, adv, mask, loss_agg_mode=average, config=config)
    total.backward()
    return total.item(), logp.grad.numpy()


def estimator(name, signals):
    """A function that computes the advantages [B, T] of `Signals` of numpy arrays, inputs ready.

    Without a mask each sample gets one token, the least that verl takes. Rewards stand on the last
    chosen token. Its one-row loops write into their arguments: each call gets a copy.
    """
    import torch

    theirs, options = NAMES[name]
    fn = algorithms().get_adv_estimator_fn(theirs)
    tensor = lambda x: torch.from_numpy(np.array(x, np.float32))
    mask = np.ones((len(signals.rewards), 1)) if signals.mask is None else signals.mask
    rewards = tensor(on_last(signals.rewards, mask))
    fields = {"response_mask": tensor(mask), **options}
    if theirs not in ("gae", "remax", "reinforce_plus_plus"):
        fields["index"] = np.asarray(signals.group)
    if theirs in ("grpo_passk", "reinforce_plus_plus"):
        fields["config"] = _Config(gamma=1.0)
    if theirs == "remax":
        fields["reward_baselines"] = tensor(signals.greedy)
    if theirs == "gae":
        fields["values"] = tensor(signals.values)
    if "optimal" in theirs:
        fields["old_log_probs"] = tensor(signals.logp)
        fields["sum_pi_squared"] = tensor(signals.squares)
    if theirs == "gdpo":
        fields |= _dimensions(signals.parts, mask, torch)
    return lambda: fn(token_level_rewards=rewards.clone(), **fields)[0].numpy()


class _Config(dict):
    """Keys as attributes too, as verl reads its configuration."""

    __getattr__ = dict.__getitem__


def on_last(rewards, mask):
    """Each sample's reward on its last chosen token, 0 on the others: [B, T] f32."""
    token = np.zeros(mask.shape, np.float32)
    last = mask.shape[1] - 1 - np.argmax(mask[:, ::-1] > 0, axis=1)
    token[np.arange(len(last)), last] = rewards
    return token


def _dimensions(parts, mask, torch):
    """What gdpo reads of a batch; it finds the last token by counting, from a prompt of one."""
    keys = [f"part{k}" for k in range(parts.shape[1])]
    attended = np.concatenate([np.ones((len(mask), 1)), mask], axis=1)
    return {
        "config": _Config(gdpo_reward_keys=keys),
        "non_tensor_batch": dict(zip(keys, parts.T, strict=True)),
        "batch": {
            "prompts": torch.zeros(len(mask), 1),
            "attention_mask": torch.from_numpy(attended).long(),
        },
    }
