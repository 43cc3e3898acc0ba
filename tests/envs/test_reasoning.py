"""Real data sets: their own scores, splits by question text, prompts, and what is refused."""

import json

import pytest

from jaxrl.envs import base, table
from jaxrl.envs.reasoning import ReasoningGym
from jaxrl.messages import Message

SUMS = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "allow_negation": True}


def sums(**knobs):
    return ReasoningGym("chain_sum", options=SUMS, show=": (.*)", **knobs)


def questions(env):
    return [env.reset(i)[0].question for i in range(len(env))]


@pytest.mark.parametrize(
    "name",
    [
        "chain_sum",
        "letter_counting",
        "gcd",
        "word_sorting",
        "coin_flip",
        "syllogism",
        "graph_color",
    ],
)
def test_scores_are_the_data_set_s_own(name):
    env = ReasoningGym(name, size=4, extract="strict")
    for i in range(len(env)):
        task, _ = env.reset(i)
        for answer in (env.answer(task), "17", "Yes", "nonsense"):
            step = env.step(task, f" {answer}\n")
            own = env._source.score_answer(answer, task.entry)
            assert step.done and step.reward == own
            assert step.info["correct"] == (own == 1)


@pytest.mark.parametrize("name", ["chain_sum", "letter_counting", "word_sorting", "syllogism"])
def test_lenient_accepts_a_sentence_and_rejects_a_wrong_one(name):
    env = ReasoningGym(name, size=5)
    for i in range(len(env)):
        task, _ = env.reset(i)
        assert env.step(task, f"The answer is {env.answer(task)}.").reward == 1
        assert env.step(task, "The answer is -12345.").reward < 1


def test_a_checker_without_an_answer_works():
    """graph_color holds answer None: any proper colouring is right."""
    env = ReasoningGym("graph_color", size=1)
    task, _ = env.reset(0)
    solution = task.entry["metadata"]["possible_answer"]
    assert task.entry["answer"] is None and env.answer(task)
    assert env.step(task, json.dumps(solution)).reward == 1
    assert env.step(task, "no idea").reward < 1


def test_partial_credit_can_be_refused():
    """chain_sum pays 2/3 for "112" where 12 is right: a reward that listing digits can climb."""
    kept, refused = (
        sums(size=50, extract="strict"),
        sums(size=50, partial_credit=False, extract="strict"),
    )
    task = next(t for t in (kept.reset(i)[0] for i in range(50)) if kept.answer(t) == "12")
    assert kept.step(task, "112").reward == pytest.approx(2 / 3)
    assert refused.step(task, "112").reward == 0 and refused.step(task, "12").reward == 1


def test_no_held_out_question_is_trained_on_whatever_the_seed():
    held = questions(sums(split="held_out", held_out=0.4, size=240))
    assert len(held) == len(set(held)) == 240
    for seed in (0, 7):
        train = questions(sums(split="train", held_out=0.4, size=1500, seed=seed))
        assert len(train) == 1500 and len(set(train)) > 300
        assert not set(train) & set(held)


def test_worked_examples_are_in_neither_split():
    env = sums(style="few_shot", shots=4, size=200, held_out=0.4)
    held = sums(style="few_shot", shots=4, size=240, held_out=0.4, split="held_out", seed=3)
    shown = {q for q, _ in env._examples}
    assert len(shown) == 4 and held._examples == env._examples
    assert not shown & set(questions(env)) and not shown & set(questions(held))


def test_tasks_are_a_function_of_index_and_seed():
    one, two = sums(size=40, seed=1), sums(size=40, seed=1)
    assert [one.reset(i) for i in range(40)] == [two.reset(i) for i in range(40)]
    assert questions(one) != questions(sums(size=40, seed=2))
    assert questions(sums(size=20, seed=1)) == questions(one)[:20]


def test_few_shot_prompt_is_plain_text_and_the_reply_one_line():
    env = sums(style="few_shot", shots=1, size=3)
    task, (prompt,) = env.reset(0)
    ((question, answer),) = env._examples
    assert prompt == Message("prompt", f"Q: {question}\nA: {answer}\n\nQ: {task.question}\nA:")
    assert env.stop == ("\n",)
    assert env.step(task, f" {env.answer(task)}\n\nQ: 1 + 1 =\nA: 2").reward == 1


def test_chat_prompt_has_roles():
    env = sums(shots=1, size=2, system="Be brief.", suffix="Number only.")
    task, messages = env.reset(1)
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1].content == f"{task.question} Number only." and env.stop == ()


@pytest.mark.parametrize(
    "params, error, words",
    [
        ({"dataset": "chain_sums"}, KeyError, ["dataset", "chain_sums", "'chain_sum'"]),
        (
            {"dataset": "chain_sum", "options": {"min_term": 2}},
            KeyError,
            ["min_term", "'min_terms'"],
        ),
        (
            {"dataset": "chain_sum", "options": {"min_terms": 0}},
            ValueError,
            ["min_terms", "chain_sum"],
        ),
        ({"dataset": "chain_sum", "style": "fewshot"}, KeyError, ["style", "'few_shot'"]),
        ({"dataset": "chain_sum", "shot": 1}, KeyError, ["shot", "'shots'"]),
        ({"dataset": "chain_sum", "size": "10"}, TypeError, ["env.params.size", "'10'", "int"]),
        ({"dataset": "chain_sum", "size": 0}, ValueError, ["size", "0"]),
        ({"dataset": "chain_sum", "held_out": 1.0}, ValueError, ["held_out", "1.0"]),
        ({}, KeyError, ["dataset"]),
    ],
)
def test_bad_settings_are_refused_by_name(params, error, words):
    with pytest.raises(error) as caught:
        table.build("reasoning_gym", params)
    assert all(w in str(caught.value) for w in words)


def test_unknown_env_names_its_neighbour():
    with pytest.raises(KeyError, match=r"reasoning-gym.*did you mean 'reasoning_gym'"):
        table.build("reasoning-gym", {})


def test_too_few_questions_are_refused_with_their_number():
    with pytest.raises(ValueError, match=r"size = 90: products .* has only \d+ such tasks"):
        len(ReasoningGym("products", options={"max_digits": 1}, split="held_out", size=90))
    with pytest.raises(ValueError, match="show = 'xyz'"):
        len(ReasoningGym("chain_sum", show="xyz"))


def test_place_is_uniform_and_fixed():
    """Were it Python's hash(), every process would hold out other questions."""
    at = [base.place(str(i)) for i in range(2000)]
    assert 0.48 < sum(at) / 2000 < 0.52 and 0 <= min(at) and max(at) < 1
    assert base.place("7 + 5 =") == pytest.approx(0.2953, abs=1e-4)
