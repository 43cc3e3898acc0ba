"""Rendering equals transformers', and appended turns keep the ids that were sampled."""

import dataclasses
from pathlib import Path

import pytest
import tiny_tokenizers

from jaxrl.chat import templates, tool_calls
from jaxrl.messages import Message, Tool, ToolCall

TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
CHATML = (
    "{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}" + TURN + "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THOUGHTS_DROPPED = (  # as Qwen3: only the thoughts after the last question are kept
    "{% for m in messages %}{% set text = m.content %}"
    "{% if m.role == 'assistant' and not loop.last %}{% set text = text.split('</think>')[-1] %}"
    "{% endif %}{{ '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for m in messages %}"
    "{% set text = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim %}"
    "{{ (bos_token if loop.first else '') + text + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SPECIALS = {
    "chatml": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "llama3": ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
}
ASK = [Message("user", "What is 2 + 2?")]
MORE = [Message("tool", "7"), Message("user", "And the ab?")]


def tokenizer(template, family="chatml"):
    """A byte-level toy with the family's special tokens."""
    end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}[family]
    made = tiny_tokenizers.build(SPECIALS[family], template, eos=end)
    return dataclasses.replace(made, bos_id=0) if family == "llama3" else made


KEEPING = [("chatml", CHATML), ("llama3", LLAMA3)]


@pytest.mark.parametrize("family, template", KEEPING, ids=["chatml", "llama3"])
@pytest.mark.parametrize("ended", [True, False])
def test_appended_turns_equal_a_render_of_the_whole(family, template, ended):
    """First render + sampled ids + delta = one render of everything, ended turn or cut off."""
    t = tokenizer(template, family)
    said = t.encode("It is 4.")
    sampled = said + [t.eos_ids[0]] * ended
    first = templates.render(t, ASK)
    grown = first + sampled + templates.delta(t, MORE, sampled[-1])
    assert grown == templates.render(t, [*ASK, Message("assistant", "It is 4."), *MORE])
    assert grown[: len(first) + len(sampled)] == first + sampled


def test_ids_the_encoder_would_not_choose_survive():
    """A sampled "a", "b" must not come back as the merged token "ab"."""
    t = tokenizer(CHATML)
    apart = [*t.encode("a"), *t.encode("b")]
    assert t.encode("ab") != apart
    first = templates.render(t, ASK)
    grown = first + apart + templates.delta(t, MORE, apart[-1])
    assert grown[len(first) :][: len(apart)] == apart
    whole = templates.render(t, [*ASK, Message("assistant", "ab"), *MORE])
    assert grown != whole and t.decode(grown) == t.decode(whole)


def test_thoughts_stay_where_the_template_would_drop_them():
    """Qwen3's way: the whole render differs from what was sampled, the delta does not."""
    t = tokenizer(THOUGHTS_DROPPED)
    said = "<think>hm</think>It is 4."
    sampled = [*t.encode(said), t.eos_ids[0]]
    grown = templates.render(t, ASK) + sampled + templates.delta(t, MORE, sampled[-1])
    whole = templates.render(t, [*ASK, Message("assistant", said), *MORE])
    assert "hm" in t.decode(grown) and "hm" not in t.decode(whole)
    appended = templates.delta(t, MORE, sampled[-1])
    assert whole[-len(appended) :] == grown[-len(appended) :] == appended


def test_another_end_token_does_not_end_the_turn():
    """Qwen models may stop with <|endoftext|>; the next turn still needs <|im_end|> before it."""
    t = tokenizer(CHATML)
    other = t.encode("<|endoftext|>")[0]
    assert templates.delta(t, MORE, other)[0] == t.eos_ids[0]
    assert templates.delta(t, MORE, other)[1:] == templates.delta(t, MORE, t.eos_ids[0])


def test_prompts_are_verbatim():
    """No template, no header; the bos only where the tokenizer itself would add it."""
    t = tokenizer(None)
    shots = [Message("prompt", "Q: 1 + 1 =\nA: 2\n"), Message("prompt", "Q: 2 + 2 =\nA:")]
    assert templates.render(t, shots) == t.encode("Q: 1 + 1 =\nA: 2\nQ: 2 + 2 =\nA:")
    assert templates.delta(t, shots[1:], 5) == t.encode("Q: 2 + 2 =\nA:")
    from jaxrl.data import vocabularies

    bos = tokenizer(None, "llama3")
    vocabularies.prepend(bos.core, "<|begin_of_text|>", 0)
    assert templates.render(bos, shots) == [0, *bos.encode(shots[0].content + shots[1].content)]
    assert templates.delta(bos, shots[1:], 5) == bos.encode("Q: 2 + 2 =\nA:")


def test_bad_conversations_and_templates_are_named():
    """Mixed roles, nothing, no template, unknown family, another tokenizer's template."""
    with pytest.raises(ValueError, match=r"cannot be mixed .* \['user', 'prompt'\]"):
        templates.render(tokenizer(CHATML), [*ASK, Message("prompt", "x")])
    with pytest.raises(ValueError, match="no messages"):
        templates.render(tokenizer(CHATML), [])
    with pytest.raises(ValueError, match="no chat_template"):
        templates.render(tokenizer(None), ASK)
    with pytest.raises(ValueError, match="of no known family"):
        templates.delta(tokenizer("{{ messages[0].content }}"), ASK, 0)
    with pytest.raises(ValueError, match="no token here"):
        templates.delta(tokenizer(LLAMA3, "chatml"), ASK, 0)
    with pytest.raises(ValueError, match="does not end an assistant turn"):
        silent = "{% for m in messages %}{{ m.content }}{% endfor %}<|im_start|>"
        templates.delta(tokenizer(silent), ASK, 0)
    with pytest.raises(ValueError, match="refuses the conversation: no system"):
        refusing = "{{ raise_exception('no system') }}"
        templates.render(tokenizer(refusing), ASK)


def test_templates_run_in_a_sandbox():
    """A template comes with downloaded weights: it must not reach the interpreter."""
    from jinja2.exceptions import SecurityError

    with pytest.raises(SecurityError):
        templates.render(tokenizer("{{ messages.__class__.__mro__ }}"), ASK)
    with pytest.raises(SecurityError):
        templates.render(tokenizer("{{ messages.append(1) }}"), ASK)


EXTRAS = """{% for m in messages %}
    {%- if loop.index > 5 %}{% break %}{% endif %}
    {% generation %}{{ m.content }}{% endgeneration %}
{% endfor %}
{{ {"a": "é<b>"} | tojson }} {{ strftime_now("%Y") | length }} {{ eos_token }}
"""


@pytest.mark.parametrize("template", [CHATML, LLAMA3, THOUGHTS_DROPPED, EXTRAS])
def test_text_equals_transformers(template):
    """White-space control, loop controls, generation tags, tojson, the clock."""
    from transformers.utils.chat_template_utils import render_jinja_template

    family = "llama3" if template is LLAMA3 else "chatml"
    t = tokenizer(template, family)
    conversation = [*ASK, Message("assistant", "<think>x</think> 4 "), *MORE]
    dicts = [{"role": m.role, "content": m.content} for m in conversation]
    for prompt in (True, False):
        expected, _ = render_jinja_template(
            [dicts],
            chat_template=template,
            add_generation_prompt=prompt,
            bos_token=t.text(t.bos_id) or "",
            eos_token=t.text(t.eos_ids[0]),
        )
        assert templates.render_text(t, conversation, prompt) == expected[0]


HERMES = (  # as Qwen2.5 and Qwen3 write tools, calls and results
    "{% if tools %}{{ '<|im_start|>system\nTools:' }}"
    "{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "{% if loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% for call in m.tool_calls %}{% set f = call.function %}"
    '{{ \'\n<tool_call>\n{"name": "\' + f.name + \'", "arguments": \' }}'
    "{{ (f.arguments | tojson) + '}\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PARAMETERS = {"type": "object", "properties": {"near": {"type": "string"}}}
TOOLS = (Tool("search", "Finds é.", PARAMETERS), Tool("now", "Tells the time.", {}))
CALL = ToolCall("search", {"near": "é<b>"})
RESULTS = [Message("tool", "one"), Message("tool", "two")]
TALK = [*ASK, Message("assistant", "Hm.", (CALL, ToolCall("now", {}))), *RESULTS]


def transformers_text(t, template, messages, tools):
    """What apply_chat_template writes, of the dicts it takes."""
    from transformers.utils.chat_template_utils import render_jinja_template

    dicts = [{"role": m.role, "content": m.content} for m in messages]
    for row, m in zip(dicts, messages, strict=True):
        if m.calls:
            calls = [{"name": c.name, "arguments": c.arguments} for c in m.calls]
            row["tool_calls"] = [{"type": "function", "function": c} for c in calls]
    functions = [{"type": "function", "function": x._asdict()} for x in tools]
    text, _ = render_jinja_template(
        [dicts],
        tools=functions,
        chat_template=template,
        add_generation_prompt=True,
        eos_token=t.text(t.eos_ids[0]),
    )
    return text[0]


def test_tools_and_calls_equal_transformers():
    """A template that knows the Hermes form gets them as transformers hands them over."""
    t = tokenizer(HERMES)
    text = templates.render_text(t, TALK, tools=TOOLS)
    assert text == transformers_text(t, HERMES, TALK, TOOLS)
    assert tool_calls.parse(text)[1] == TALK[1].calls and "Finds é." in text


@pytest.mark.parametrize("family, template", [*KEEPING, ("chatml", HERMES)])
def test_a_conversation_with_tools_grows_by_appending(family, template):
    """Call, results and next header: first render + sampled + delta = one render of everything,
    whether the template knows tools or we write them out."""
    t = tokenizer(template, family)
    first = templates.render(t, ASK, tools=TOOLS)
    assert "Finds é." in t.decode(first)
    sampled = [*t.encode("Hm.\n" + tool_calls.write(TALK[1].calls)), t.eos_ids[0]]
    grown = first + sampled + templates.delta(t, RESULTS, sampled[-1], tools=TOOLS)
    assert grown == templates.render(t, TALK, tools=TOOLS)
    assert "<tool_response>\ntwo\n</tool_response>" in t.decode(grown)


def test_a_template_with_another_form_of_calls_is_not_used_for_them():
    """Llama's own form would be read by nobody here; and a template may refuse the role tool."""
    other = "{% for x in tools or [] %}{{ x.function.description }}{% endfor %}" + CHATML
    refusing = CHATML + "{{ raise_exception('no') if messages[-1].role == 'tool' }}"
    for template in (other, refusing):
        text = templates.render_text(tokenizer(template), TALK, tools=TOOLS)
        assert text == templates.render_text(tokenizer(CHATML), TALK, tools=TOOLS)
        assert tool_calls.parse(text)[1][-2:] == TALK[1].calls
    with pytest.raises(ValueError, match="tools need a chat template"):
        templates.render(tokenizer(None), [Message("prompt", "x")], tools=TOOLS)


PUBLISHED = {"qwen2_5": True, "qwen3": False, "qwen3_instruct_2507": True, "llama3": True}
PUBLISHED |= {"llama3_1": True, "llama3_2": True}


@pytest.mark.peers
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_templates(name):
    """The families' real templates, as TRL ships them: which of them keep earlier turns."""
    trl = pytest.importorskip("trl")
    template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
    t = tokenizer(template, "llama3" if name.startswith("llama3") else "chatml")
    said = "<think>\nhm\n</think>\n\nIt is 4."
    sampled = [*t.encode(said), t.eos_ids[0]]
    grown = templates.render(t, ASK) + sampled + templates.delta(t, ASK, sampled[-1])
    whole = templates.render(t, [*ASK, Message("assistant", said), *ASK])
    assert (grown == whole) == PUBLISHED[name]
    plain = [*t.encode("It is 4."), t.eos_ids[0]]
    grown = templates.render(t, ASK) + plain + templates.delta(t, ASK, plain[-1])
    assert grown == templates.render(t, [*ASK, Message("assistant", "It is 4."), *ASK])


@pytest.mark.peers
@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen3_vl"])
def test_published_templates_write_tools(name):
    """Qwen's real templates: natively, as transformers does, and read back by our parser."""
    trl = pytest.importorskip("trl")
    template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
    t = tokenizer(template)
    text = templates.render_text(t, TALK, tools=TOOLS)
    assert text == transformers_text(t, template, TALK, TOOLS)
    assert tool_calls.parse(text)[1][-2:] == TALK[1].calls  # the first is the system text's form
    first = templates.render(t, ASK, tools=TOOLS)
    sampled = [*t.encode("Hm.\n" + tool_calls.write(TALK[1].calls)), t.eos_ids[0]]
    grown = first + sampled + templates.delta(t, RESULTS, sampled[-1], tools=TOOLS)
    assert t.decode(grown) == t.decode(templates.render(t, TALK, tools=TOOLS))
