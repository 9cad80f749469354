"""Prompts as the token ids of a checkpoint's own chat template.

The template is rendered with one image placeholder, tokenised as a whole, and the placeholder's id is then expanded to
the image's run of ids. Added tokens split the text before anything else sees it, so this gives the ids that the
processor gets by expanding the text first, without tokenising thousands of placeholders a question.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from carscribe.engines.checkpoint import Checkpoint, first_line
from carscribe.errors import CheckpointError, EngineError
from carscribe.packing import Branch


class PromptEncoder:
    """Turns prompt texts into token ids and answers' ids into text, by the checkpoint's tokenizer and template."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the tokenizer. Raises: CheckpointError when it, its image tokens or its template are missing."""
        self._checkpoint = checkpoint
        self._tokenizer = _tokenizer(checkpoint)
        self._template = _template(checkpoint, self._tokenizer)
        self._start_id = self._special("start_image_token")
        self._end_id = self._special("end_image_token")
        if self._tokenizer.convert_ids_to_tokens(checkpoint.image_token_id) is None:
            raise CheckpointError(f"{checkpoint.name}: image_token_id {checkpoint.image_token_id} is no token of it.")
        self.reserved: frozenset[str] = frozenset(
            token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special
        )
        self.end_of_turn_id = self._end_of_turn()
        self._ids = lru_cache(maxsize=65_536)(self._unexpanded)
        self._leaves = lru_cache(maxsize=65_536)(self._leaf_ids)
        self._asked = lru_cache(maxsize=65_536)(self._render)

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer, as transformers loads it."""
        return self._tokenizer

    @property
    def pad_id(self) -> int:
        """An id that may stand where nothing is read."""
        pad = self._tokenizer.pad_token_id
        return self.end_of_turn_id if pad is None else int(pad)

    def ids(self, text: str, tiles: int) -> tuple[int, ...]:
        """All token ids of one question about one photo of `tiles` tiles, up to where the answer begins.

        Raises: EngineError when `text` holds one of the checkpoint's special tokens.
        """
        ids, at = self._ids(text)
        image = self._checkpoint.image_token_id
        run = (self._start_id, *(image,) * (self._checkpoint.image_tokens * tiles), self._end_id)
        return (*ids[:at], *run, *ids[at + 1 :])

    def image_end(self, text: str, tiles: int) -> int:
        """How many of `ids` there are up to the end of the image."""
        return self._ids(text)[1] + self._checkpoint.image_tokens * tiles + 2

    def leaves(self, text: str, choices: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        """The ids that answer `text` with each of `choices`, the end of turn last.

        Tokenised behind the prompt, so that a choice gets the ids it has there.
        """
        return tuple(self._leaves(text, choice) for choice in choices)

    def answer(self, text: str, answer: str) -> tuple[int, ...]:
        """The ids that answer `text` with `answer`, the end of turn last, tokenised behind the prompt."""
        return self._leaves(text, answer)

    def later_turn(self, text: str) -> tuple[int, ...]:
        """The ids of a question that follows the end of an answered turn, up to where its answer begins."""
        spoken = self._render("question", "answer")
        more = self._render("question", "answer", text)
        if not more.startswith(spoken):
            raise CheckpointError(
                f"{self._checkpoint.name}: its chat template changes earlier turns when one is added; train on rows of "
                'one question each (rows = "packed" or "plain").'
            )
        ids = self._encode(more)
        first = self._encode(spoken)
        end = max(i for i, token in enumerate(first) if token == self.end_of_turn_id)
        return ids[end + 1 :]

    def branch(self, text: str, choices: tuple[str, ...], ids: Sequence[int], prefix: int) -> Branch:
        """What follows the first `prefix` of `ids`, as a branch of the photo's row."""
        return Branch(tokens=tuple(ids[prefix:]), leaves=self.leaves(text, choices) if choices else ())

    def texts(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """The words of answers. Special tokens are left out; white space around them goes, since nobody sees it."""
        # All at once by the tokenizer beneath: a call of transformers' takes longer than the decoding.
        beneath = self._tokenizer.backend_tokenizer
        return [words.strip() for words in beneath.decode_batch(list(answers), skip_special_tokens=True)]

    def text(self, ids: Sequence[int]) -> str:
        """One answer's words."""
        return self.texts([ids])[0]

    def _unexpanded(self, text: str) -> tuple[tuple[int, ...], int]:
        """Ids with one id for the whole image, and where it stands."""
        if found := sorted(token for token in self.reserved if token in text):
            raise EngineError(
                f"A prompt holds {found[0]}, a token with a meaning of its own to {self._checkpoint.name}. "
                f"Take it out of the question: {text[:60]!r}"
            )
        ids = self._encode(self._asked(text))
        if ids.count(self._checkpoint.image_token_id) != 1:
            raise CheckpointError(
                f"{self._checkpoint.name}: its chat template puts {ids.count(self._checkpoint.image_token_id)} "
                "image placeholders where one photo stands; one is expected."
            )
        return ids, ids.index(self._checkpoint.image_token_id)

    def _render(self, text: str, answer: str | None = None, later: str | None = None) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if answer is not None:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        if later is not None:
            messages.append({"role": "user", "content": [{"type": "text", "text": later}]})
        from jinja2 import TemplateError

        try:
            rendered: str = self._tokenizer.apply_chat_template(
                messages,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=messages[-1]["role"] == "user",
            )
        except TemplateError as error:
            raise CheckpointError(f"{self._checkpoint.name}: its chat template does not render: {error}.") from None
        return rendered

    def _encode(self, text: str) -> tuple[int, ...]:
        bos = self._tokenizer.bos_token
        again = bool(bos) and text.startswith(bos)  # the template wrote it already
        return tuple(self._tokenizer(text, add_special_tokens=not again)["input_ids"])

    def _leaf_ids(self, text: str, choice: str) -> tuple[int, ...]:
        prompt = self._ids(text)[0]
        whole = self._encode(self._asked(text) + choice)
        if whole[: len(prompt)] != prompt:  # the choice melted into the prompt's last token: ask it as it would begin
            whole = prompt + tuple(self._tokenizer(choice, add_special_tokens=False)["input_ids"])
        return (*whole[len(prompt) :], self.end_of_turn_id)

    def _special(self, attribute: str) -> int:
        token = getattr(self._tokenizer, attribute, None)
        if token is None:
            raise CheckpointError(
                f"{self._checkpoint.name}: its tokenizer_config.json names no {attribute}. "
                "Take the checkpoint in transformers' format (its name ends in -hf)."
            )
        return int(self._tokenizer.convert_tokens_to_ids(token))

    def _end_of_turn(self) -> int:
        """The id with which the template ends what the assistant says."""
        marker = "answer"
        rendered = self._render("question", marker)
        _, said, tail = rendered.rpartition(marker)
        # Without what a tokenizer puts before every text: the first id would be that.
        ids = self._tokenizer(tail, add_special_tokens=False)["input_ids"] if said else ()
        if not ids or self._tokenizer.convert_ids_to_tokens(ids[0]) not in self.reserved:
            raise CheckpointError(
                f"{self._checkpoint.name}: its chat template ends no turn of the assistant with a token."
            )
        return int(ids[0])


def _tokenizer(checkpoint: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{checkpoint.name} has no tokenizer that loads ({first_line(error)}). "
            "Its folder needs tokenizer.json and tokenizer_config.json."
        ) from None


def _template(checkpoint: Checkpoint, tokenizer: Any) -> str:
    """The template for turns with images: its own file first, as the processor does, then the tokenizer's."""
    import json

    path = checkpoint.folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    path = checkpoint.folder / "chat_template.json"
    if path.exists():
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["chat_template"])
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{checkpoint.name}: {path} holds no chat_template; fetch it again.") from None
    if isinstance(tokenizer.chat_template, str):
        return str(tokenizer.chat_template)
    raise CheckpointError(f"{checkpoint.name} has no chat template (chat_template.jinja); fetch the checkpoint again.")
