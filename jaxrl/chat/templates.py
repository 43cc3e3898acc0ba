"""Messages to token ids: whole conversations by the model's own template, later turns by a delta.

A conversation grows by appending ids. The first render goes through the template; whatever comes
after a sampled turn is rendered by `delta`, so text the model produced is never encoded again.

    ids = render(tokenizer, messages)              the prompt
    ids += sampled                                 as they came out of the sampler
    ids += delta(tokenizer, reply, ids[-1])        the world's answer, and the next header

For templates that keep earlier turns as they were (SmolLM2, Qwen2.5, Llama 3) this equals rendering
the whole conversation anew. Qwen3's template drops the thoughts of earlier turns when rendered
anew; here they stay, which is what the model saw when it sampled.

A message of role "prompt" is verbatim text, for models or tasks without a template.

`tools` and calls go to templates that write them in the form tool_calls.py reads (Qwen's do). For
all others the tools stand in the system text, the calls in the assistant's, the results in the
user's, in that same form.
"""

import datetime
import functools
import json

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxrl.chat import tool_calls
from jaxrl.messages import Message, Tool, ToolCall

FAMILIES = {  # what a template must contain -> the token that ends each of its turns
    "<|im_start|>": "<|im_end|>",  # ChatML: SmolLM2, Qwen2, Qwen2.5, Qwen3
    "<|start_header_id|>": "<|eot_id|>",  # Llama 3
}
MARK = "\N{INVISIBLE SEPARATOR}turn\N{INVISIBLE SEPARATOR}"  # stands for the sampled turn


def render(tokenizer, messages, add_generation_prompt=True, tools=()):
    """Ids of a conversation that starts here; before a verbatim prompt, the bos if one is used."""
    ids = tokenizer.encode(render_text(tokenizer, messages, add_generation_prompt, tools))
    return tokenizer.prefix() + ids if _verbatim(messages) else ids


def render_text(tokenizer, messages, add_generation_prompt=True, tools=()):
    """The same as text, as transformers' apply_chat_template gives it."""
    if _verbatim(messages):
        if tools:
            raise ValueError('tools need a chat template: use chat roles, not "prompt"')
        return "".join(m.content for m in messages)
    if tokenizer.chat_template is None:
        raise ValueError(
            'the tokenizer has no chat_template: use messages of role "prompt", or add a '
            "chat_template.jinja to the checkpoint"
        )
    if (tools or any(m.calls for m in messages)) and not _knows_calls(tokenizer.chat_template):
        messages = tool_calls.written(messages)
        messages, tools = tool_calls.introduced(messages, tools) if tools else messages, ()
    return _compile(tokenizer.chat_template).render(
        messages=[tool_calls.for_template(m) for m in messages],
        tools=[tool_calls.signature(t) for t in tools] or None,
        add_generation_prompt=add_generation_prompt,
        bos_token=tokenizer.text(tokenizer.bos_id) or "",
        eos_token=tokenizer.text(tokenizer.eos_ids[0]) if tokenizer.eos_ids else "",
    )


def delta(tokenizer, messages, last_id, add_generation_prompt=True, tools=()):
    """Ids to append after a sampled turn: its end if it was cut off, `messages`, the next header.

    last_id: the last sampled id. If it is not the token that ends a turn, that token comes first.
    tools: as in the first render, which decides how results are written.
    """
    if _verbatim(messages):
        return tokenizer.encode(render_text(tokenizer, messages))
    end = end_of_turn(tokenizer)
    # The template itself says what follows an assistant turn; a user turn must come before one.
    turns = [Message("user", "."), Message("assistant", MARK)]
    text = render_text(tokenizer, [*turns, *messages], add_generation_prompt, tools)
    _, found, text = text.partition(MARK)
    if not found or not text.startswith(end):
        raise ValueError(
            f"the chat template does not end an assistant turn with {end!r}: give its family an "
            "entry of its own in jaxrl/chat/templates.py"
        )
    ids = tokenizer.encode(text)
    return ids[1:] if ids[0] == int(last_id) else ids


def end_of_turn(tokenizer):
    """The token, as text, that ends every turn of the tokenizer's template family."""
    for sign, end in FAMILIES.items():
        if sign in (tokenizer.chat_template or ""):
            if len(tokenizer.encode(end)) != 1:
                raise ValueError(
                    f"the chat template ends turns with {end!r}, which is no token here: "
                    "template and tokenizer belong to different models"
                )
            return end
    raise ValueError(
        f"the chat template is of no known family: it contains none of {list(FAMILIES)}; add its "
        "end-of-turn token to jaxrl/chat/templates.py"
    )


def _verbatim(messages):
    if not messages:
        raise ValueError("no messages to render: give at least one")
    prompts = sum(m.role == "prompt" for m in messages)
    if prompts not in (0, len(messages)):
        roles = [m.role for m in messages]
        raise ValueError(
            f'role "prompt" cannot be mixed with chat roles, found {roles}: use one kind'
        )
    return prompts > 0


@functools.lru_cache(maxsize=16)
def _knows_calls(template):
    """Whether a template lists tools and writes a call so that tool_calls.py reads it again."""
    tool, call = Tool("probe", "An odd description.", {"type": "object"}), ToolCall("probe", {})
    turns = [Message("user", "."), Message("assistant", "", (call,))]
    try:
        text = _compile(template).render(
            messages=[tool_calls.for_template(m) for m in turns],
            tools=[tool_calls.signature(tool)],
            add_generation_prompt=False,
        )
    except (jinja2.TemplateError, ValueError, TypeError):
        return False
    return tool.description in text and call in tool_calls.parse(text)[1]


@functools.lru_cache(maxsize=16)
def _compile(template):
    """A template in the sandbox and with the extras that transformers gives it."""
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    env.filters["tojson"] = _tojson
    env.globals |= {"raise_exception": _raise, "strftime_now": _now}
    return env.from_string(template)


class _Generation(jinja2.ext.Extension):
    """{% generation %} … {% endgeneration %} marks assistant text in templates: keep the text."""

    tags = {"generation"}  # noqa: RUF012  (jinja reads it as a plain set)

    def parse(self, parser):
        """Replaces the tag by its body."""
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def _tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """Plain JSON: jinja's own filter would escape HTML."""
    return json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message):
    raise ValueError(f"the chat template refuses the conversation: {message}")


def _now(form):
    return datetime.datetime.now().strftime(form)
