"""How tokens are averaged into one loss: name -> weights of the tokens and their divisor.

All are of one signature, f(mask, sample, group, *, max_length) -> (weights [N, M] f32, divisor []).
mask [N, M] f32 says which tokens count, sample and group [N, M] int32 which response and which
prompt of its row a token belongs to; a group never spans two rows. Weights and divisors of parts of
a batch add up to those of the whole, so the train step divides once.
"""

import jax.numpy as jnp

from jaxrl.ops.ratios import response_sum, segment_sum


def token_mean(mask, sample, group, *, max_length=0):
    """Every token weighs the same: DAPO, arXiv:2503.14476, eq. 12."""
    return mask, mask.sum()


def token_sum(mask, sample, group, *, max_length=0):
    """The plain sum; its divisor is 0, which the train step reads as 1."""
    return mask, jnp.zeros((), jnp.float32)


def seq_mean_token_sum(mask, sample, group, *, max_length=0):
    """Sum over tokens, mean over responses: REINFORCE on whole responses."""
    return mask, _count(mask, sample)


def seq_mean_token_sum_norm(mask, sample, group, *, max_length):
    """Every token weighs 1/L_max, the mean is over responses: Dr.GRPO, arXiv:2503.20783.

    max_length: L_max, the same for all batches.
    """
    return mask / max_length, _count(mask, sample)


def seq_mean_token_mean(mask, sample, group, *, max_length=0):
    """Every response weighs the same, 1/|y_i| a token: GRPO, arXiv:2402.03300, eq. 3."""
    return mask / _size(mask, sample), _count(mask, sample)


def prompt_mean(mask, sample, group, *, max_length=0):
    """Mean over the tokens of a prompt's responses, then over prompts: a prompt weighs the same
    however much was written on it. One prompt alone: DAPO, arXiv:2503.14476, eq. 8."""
    return mask / _size(mask, group), _count(mask, group)


def group_mean(mask, sample, group, *, max_length=0):
    """Mean over tokens, then over a prompt's responses, then over prompts.

    Equal to seq_mean_token_mean where all groups are of one size.
    """
    share = mask / _size(mask, sample)  # adds up to the responses of each group
    return share / jnp.maximum(response_sum(share, mask, group), 1), _count(mask, group)


AGGREGATIONS = {
    "token_mean": token_mean,
    "token_sum": token_sum,
    "seq_mean_token_sum": seq_mean_token_sum,
    "seq_mean_token_sum_norm": seq_mean_token_sum_norm,
    "seq_mean_token_mean": seq_mean_token_mean,
    "prompt_mean": prompt_mean,
    "group_mean": group_mean,
}
# The one whose weights add up to its divisor, for statistics beside such a loss.
AVERAGES = {name: name for name in AGGREGATIONS} | {
    "token_sum": "token_mean",
    "seq_mean_token_sum": "seq_mean_token_mean",
    "seq_mean_token_sum_norm": "seq_mean_token_mean",
}


def _size(mask, ids):
    return jnp.maximum(response_sum(mask, mask, ids), 1)


def _count(mask, ids):
    return (segment_sum(mask, ids) > 0).sum().astype(jnp.float32)
