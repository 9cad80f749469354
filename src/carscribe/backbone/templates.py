"""Chat templates: rendered as transformers renders them, without it; given the part that stands for an image.

Source: transformers 5.17, utils/chat_template_utils.py, for the environment and what a template may call.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from carscribe.engines.checkpoint import first_line
from carscribe.errors import MissingExtraError

IMAGE_TOKEN, IMAGE_START, IMAGE_END = "<IMG_CONTEXT>", "<img>", "</img>"

FLATTEN = """\
{%- set flat = namespace(messages=[], text='') -%}
{%- for message in messages -%}
{%- if message['content'] is string or not message['content'] -%}
{%- set flat.messages = flat.messages + [message] -%}
{%- else -%}
{%- set flat.text = '' -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{%- set flat.text = flat.text + '<IMG_CONTEXT>\\n' -%}
{%- elif part['type'] == 'video' -%}{%- set flat.text = flat.text + '<video>\\n' -%}
{%- elif part['type'] == 'text' -%}{%- set flat.text = flat.text + part['text'] -%}{%- endif -%}
{%- endfor -%}
{%- set flat.messages = flat.messages + [dict(message, content=flat.text)] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = flat.messages -%}
"""
"""Goes before a template that knows texts alone: an image becomes a placeholder and a new line, as InternVL3 has it."""

NO_THINKING = "{%- set enable_thinking = false -%}\n"
"""Goes before the template of a model that would think aloud before it answers."""

DATE = "{%- set date_string = '26 Jul 2024' -%}\n"
"""Goes before a template that would write today's date: answers must not hang on the day. Llama 3's own default."""

ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")
"""Tokens that a template may name."""

_GENERATION = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
"""Marks what the assistant says for trainers, and renders as what it holds: as good as a comment here."""

QUESTION, ANSWER = "question", "answer"


class TemplateFailedError(Exception):
    """A template does not render, and why."""


def with_image(template: str) -> str:
    """The template of a language model, for messages with images; thinking is turned off where it can be.

    >>> text = with_image("{% for m in messages %}[{{ m['content'] }}]{% endfor %}")
    >>> render(text, [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Wheels?"}]}], {})
    '[<IMG_CONTEXT>\\nWheels?]'
    """
    before = NO_THINKING * ("enable_thinking" in template) + DATE * has_date(template)
    return before + FLATTEN + template


def has_date(template: str) -> bool:
    """Whether a template writes today's date unless it is given one."""
    return "strftime_now" in template and "date_string" in template


def render(
    template: str, messages: Sequence[Mapping[str, Any]], roles: Mapping[str, str | None], *, opened: bool = False
) -> str:
    """Messages as one text; `opened` begins the assistant's turn. Raises: TemplateFailedError, MissingExtraError."""
    try:
        environment = _environment()
    except ImportError:
        raise MissingExtraError("Reading a chat template", extra="local") from None
    try:
        plain = _GENERATION.sub(r"{#\1 \2#}", template)
        named = {role: roles.get(role) for role in ROLES if roles.get(role) is not None}
        compiled = environment.from_string(plain)
        return str(compiled.render(messages=list(messages), add_generation_prompt=opened, **named))
    except Exception as error:  # noqa: BLE001 - a template is a program of its own, and fails as one
        raise TemplateFailedError(first_line(error)) from None


def asked(template: str, roles: Mapping[str, str | None]) -> str:
    """One photo and one question, up to where the answer begins. Raises: TemplateFailedError."""
    return render(template, [_question()], roles, opened=True)


def after_answer(template: str, roles: Mapping[str, str | None]) -> str | None:
    """What the template writes behind what the assistant said; None where it loses it. Raises: TemplateFailedError."""
    said = {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}
    whole = render(template, [_question(), said], roles)
    _, found, tail = whole.rpartition(ANSWER)
    return tail if found else None


def _question() -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}


def _environment() -> Any:
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def fail(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    to_json: Callable[..., str] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)  # noqa: E731
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = fail
    environment.globals["strftime_now"] = lambda how: datetime.now().strftime(how)
    return environment
