"""Which rollouts and tasks the report picks, and how it marks their tokens."""

import pytest

from jaxrl.report import samples


def rollout(task, reward, advantage, **more):
    row = {"step": 0, "task": task, "prompt": "p", "reward": reward, "advantage": advantage}
    return row | {"pieces": ["a", "\n", ""], "logp": [-0.01, -1.0, None], "ended": "stop"} | more


def test_best_and_worst_are_of_different_tasks_and_never_the_same_rollout():
    rows = [rollout(1, 1.0, 0.1), rollout(1, 1.0, 2.0), rollout(2, 1.0, 1.0), rollout(3, 0.0, -2.0)]
    rows += [rollout(4, None, 0.0), rollout(3, 0.0, -0.5)]
    best, worst = samples.extremes(rows)
    assert [(r["task"], r["advantage"]) for r in best[:2]] == [(1, 2.0), (2, 1.0)]
    assert (worst[0]["task"], worst[0]["advantage"]) == (3, -2.0) or len(best) == 3
    assert all(r["reward"] is not None for r in best + worst)
    assert not {id(r) for r in best} & {id(r) for r in worst}
    assert samples.extremes([]) == ([], [])


def test_tokens_carry_the_sign_of_the_advantage_and_the_rarity_of_the_token():
    row = rollout(1, 1.0, [4.0, -1.0, 0.0])
    tokens = samples.coloured(row, samples.largest_advantage([row]))["head"]
    assert [classes for _, classes, _ in tokens] == ["p4 u0", "n1 u2", "zero u3"]
    assert [text for text, _, _ in tokens] == ["a", "↵\n", "∅"]
    assert "log-prob -1.000, p = 0.368" in tokens[1][2] and "unknown" in tokens[2][2]


def test_one_advantage_colours_every_token_and_zero_colours_none():
    for advantage, shade in ((2.0, "p4"), (-2.0, "n4"), (0.0, "zero")):
        row = rollout(1, 1.0, advantage)
        tokens = samples.coloured(row, samples.largest_advantage([row]))["head"]
        assert {classes.split()[0] for _, classes, _ in tokens} == {shade}


def test_a_long_rollout_shows_its_two_ends():
    n = samples.TOKENS + 50
    row = rollout(1, 1.0, 1.0, pieces=[str(i) for i in range(n)], logp=[-1.0] * n)
    shown = samples.coloured(row, 1.0)
    assert shown["cut"] == 50 and len(shown["head"]) + len(shown["tail"]) == samples.TOKENS
    assert shown["head"][0][0] == "0" and shown["tail"][-1][0] == str(n - 1)


def evaluated(step, scores):
    rows = [
        {"prompt": f"q{i}", "response": f" r{i}", "answer": i, "score": score}
        for i, score in enumerate(scores)
    ]
    return {"step": step, "name": "s", "n": len(rows), "accuracy": 0.5, "rows": rows}


def test_held_out_tasks_are_sorted_by_their_fate():
    """A partial score is not right, and an unscorable one (null) is wrong, never a crash."""
    shown = samples.held_out([evaluated(0, [0, 1, 0.3, 1, None]), evaluated(9, [1, 0, 0.9, 1, 1])])
    fates = {pair["after"]["prompt"]: pair["kind"] for pair in shown["pairs"]}
    assert fates == {
        "q0": "now right",
        "q1": "now wrong",
        "q2": "still wrong",
        "q3": "still right",
        "q4": "now right",
    }
    assert shown["counts"]["now right"] == 2 and shown["change"] == 0


def test_a_few_fates_do_not_crowd_out_the_rare_one():
    shown = samples.held_out([evaluated(0, [0] * 90 + [1]), evaluated(9, [1] * 90 + [0])])
    assert len(shown["pairs"]) == samples.PAIRS
    assert [pair["kind"] for pair in shown["pairs"]].count("now wrong") == 1


@pytest.mark.parametrize("key, kept", [("prompt", "END"), ("response", "START")])
def test_long_text_keeps_the_end_that_matters(key, kept):
    """A few-shot prompt asks its question at the end; a response answers at the start."""
    evals = evaluated(0, [1])
    evals["rows"][0][key] = "START" + "x" * 5000 + "END"
    text = samples.held_out([evals])["rows"][0][key]
    assert kept in text and len(text) < samples.CHARS + 40 and "4,408" in text


def graded(step, scores):
    """An evaluation of tasks that have degrees."""
    row = evaluated(step, scores)
    del row["accuracy"]
    return row | {"reward": sum(score or 0 for score in scores) / len(scores)}


def test_tasks_with_degrees_are_sorted_by_how_much_they_changed():
    shown = samples.held_out([graded(0, [0.1, 0.5, 0.9, None]), graded(9, [0.2, 0.5, 0.1, 0.7])])
    fates = [(pair["after"]["prompt"], pair["kind"]) for pair in shown["pairs"]]
    assert fates == [("q3", "better"), ("q0", "better"), ("q2", "worse"), ("q1", "equal")]
    assert shown["measure"] == "reward" and shown["change"] == pytest.approx(0.0)


def test_best_and_worst_episodes_go_by_utility_and_not_by_a_place_in_their_group():
    """A tournament gives the best of a weak group as much as the best of a strong one."""
    weak, strong = rollout(1, 1.0, 1.4, utility=0.1), rollout(2, 0.3, -0.5, utility=0.9)
    lost = rollout(3, None, 0.0, utility=None)
    best, worst = samples.extremes([weak, strong, lost])
    assert [r["task"] for r in best] == [2, 1] and worst == []
