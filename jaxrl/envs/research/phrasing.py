"""Tasks as people say them: a wish, the subjects it extends to, and a length.

"Write a technical report on "Mickey Mouse" for readers who know nothing of it. Give Walt Disney
and Ub Iwerks sections of their own. It should have 80 to 400 words."
"""

from jaxrl.envs import draws
from jaxrl.envs.research import task as tasks

WISHES = {
    "technical_writing": (
        'Write a technical report on "{topic}" for readers who know nothing of it.',
        'I need reference documentation about "{topic}", precise and complete.',
        'Please draft a factual background paper on "{topic}".',
        'Document "{topic}" for our knowledge base: what it is, and the facts that matter.',
        'Prepare a report on "{topic}" that a specialist could cite.',
        'A colleague asks for a written briefing on "{topic}". Write it.',
    ),
    "ideation": (
        'I am collecting ideas around "{topic}". Where could one go from there?',
        'Starting from "{topic}", which directions are worth a chapter of their own?',
        'Expand on "{topic}": I want to know what it leads to.',
        'I plan a series of articles that begins with "{topic}". What should follow?',
        'Take "{topic}" as a seed and develop it further.',
        'What else should somebody explore who is interested in "{topic}"?',
    ),
    "explanation": (
        'Explain "{topic}" to me briefly.',
        'Summarise what is known about "{topic}".',
        'What is "{topic}"? Keep it short.',
        'Give me a summary on "{topic}" that I can read in a minute.',
        'In plain words: what do I need to know about "{topic}"?',
        'I keep hearing of "{topic}". What is it about?',
    ),
}
SUBJECTS = {
    "technical_writing": (
        "Give {subjects} a section of its own each.",
        "It must also cover {subjects}, each in its own section.",
        "Include a section on each of these: {subjects}.",
    ),
    "ideation": (
        "Find at least {count} related subjects and say facts about each.",
        "I want {count} or more related subjects, each with what is known of it.",
        "Name {count} subjects or more that are connected with it, and expand on each.",
    ),
    "explanation": (
        "Say also how it is connected with {subjects}.",
        "Include how it relates to {subjects}.",
        "Cover {subjects} as well.",
    ),
}
LENGTH = (
    "It should have {low} to {high} words.",
    "Write between {low} and {high} words.",
    "Length: {low} to {high} words.",
)


def query(key, task):
    """The task as a person would say it; key: chooses the words."""
    titles = [f'"{tasks.world(task).document(id).title}"' for id in task.subjects]
    values = task._asdict() | {"topic": tasks.topic(task).title, "subjects": _joined(titles)}
    wordings = (WISHES[task.kind], SUBJECTS[task.kind], LENGTH)
    picked = (draws.pick(f"{key}/wording/{i}", w) for i, w in enumerate(wordings))
    return " ".join(text.format(**values) for text in picked)


def _joined(titles):
    return ", ".join(titles[:-1]) + " and " + titles[-1] if len(titles) > 1 else "".join(titles)
