"""Games of Gymnasium: a state is a value, whatever the game keeps inside."""

import pytest

from jaxrl.envs import table
from jaxrl.envs.base import Step

MOVES = ("left", "down", "right", "up")
LAKE = {"id": "FrozenLake-v1", "actions": MOVES}
DRY = LAKE | {"options": {"is_slippery": False}}


def play(env, index, *replies):
    """The last Step."""
    state, _ = env.reset(index)
    for reply in replies:
        step = env.step(state, reply)
        state = step.state
    return step


def test_a_game_is_told_in_text_and_won_by_words():
    env = table.build("gymnasium", DRY | {"rules": "Reach G."})
    state, (rules, seen) = env.reset(2)
    assert rules.content == "Reach G." and seen.content.startswith("[S]FFF\nFHFH\n")
    assert seen.content.endswith("Answer with one of: left, down, right, up.")
    way = ["I go DOWN.", "down", "right", "right", "left? No: down", "right"]
    step = play(env, 2, *way[:-1])
    assert (step.reward, step.done) == (0.0, False) and "HF[F]G" in step.messages[0].content
    assert play(env, 2, *way)[1:4] == ((), 1.0, True)
    assert env.reset(2) == (state, (rules, seen))


def test_chance_is_the_seeds_and_states_branch():
    """The slippery lake: the same moves end alike, and a step changes no state."""
    env = table.build("gymnasium", LAKE)
    ways = [["right"] * 5, ["down"] * 5]
    ends = [play(env, 4, *way) for way in ways * 2]
    assert ends[0] == ends[2] and ends[1] == ends[3]
    assert len({play(env, i, "down", "down").messages for i in range(6)}) > 1  # other seeds
    state = ends[0].state
    assert env.step(state, "up") == env.step(state, "up") and state == ends[0].state


def test_a_reply_that_names_no_action_costs_a_turn():
    env = table.build("gymnasium", DRY)
    state, _ = env.reset(0)
    step = env.step(state, "I would rather not; leftover plans.")
    assert isinstance(step, Step) and step.state == state and not step.done
    assert step.info == {"unnamed": 1.0} and "names no action" in step.messages[0].content


def test_held_out_games_have_other_seeds():
    shown = [
        table.build("gymnasium", LAKE | {"split": s}).reset(0)[0] for s in ("train", "held_out")
    ]
    assert shown[0] != shown[1]


@pytest.mark.parametrize(
    "params, words",
    [
        ({"id": "CartPole-v1"}, "shows no text"),
        ({"id": "Pendulum-v1"}, "shows no text"),
        (LAKE | {"actions": ("left",)}, "FrozenLake-v1 has 4; name all"),
        (LAKE | {"size": 0}, "size = 0 must be positive"),
        (LAKE | {"split": "test"}, "split = 'test' is not known"),
    ],
)
def test_what_cannot_be_played_is_refused(params, words):
    with pytest.raises((ValueError, KeyError)) as error:
        table.build("gymnasium", params)
    assert words in str(error.value)
