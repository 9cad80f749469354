"""What a text may not hold if a model is to learn it: marks that a trainer takes for a photo or a command. Pure."""

import re
from dataclasses import replace

from carscribe.examples import Pair
from carscribe.plaintext import plain_lines

PLACEHOLDER = "<image>"
"""Stands for the photo in conversations that are no structured content."""

# Tokens with a meaning to InternVL3's tokenizer: `<|im_end|>` and its kind, and those in its added_tokens.json. Then
# what trainers replace. Sources: ms-swift 4.6.0, template/base.py, Template.special_tokens; LLaMA-Factory 0.9.5,
# extras/constants.py, *_PLACEHOLDER; InternVL 2410d1d, internvl/train/constants.py and dataset.py.
_RESERVED = re.compile(
    r"<\|[^\s<>|]{1,40}\|>|</s>|</?(?:img|IMG_CONTEXT|quad|ref|box)>"
    r"|<(?:image|video|audio|bbox|ref-object|cot-process|start-image)>"
)


def reserved_mark(text: str) -> str | None:
    """The first mark in a text that a trainer would not take for text; None where there is none.

    >>> reserved_mark("a <image> of it"), reserved_mark("done<|im_end|>"), reserved_mark("width < 2 m, <b>low</b>")
    ('<image>', '<|im_end|>', None)
    """
    found = _RESERVED.search(text)
    return found.group() if found else None


def learnable(pair: Pair) -> Pair | str:
    """The pair without control characters; or why it cannot be learned, after "its "."""
    question, answer = plain_lines(pair.question), plain_lines(pair.answer)
    for name, text in (("question", question), ("answer", answer)):
        if (mark := reserved_mark(text)) is not None:
            return f"{name} holds {mark}, which a trainer takes for a photo or a command: take it out"
    if not answer.strip():
        return "answer holds nothing that can be seen"
    if (question, answer) == (pair.question, pair.answer):
        return pair
    return replace(pair, question=question, answer=answer)
