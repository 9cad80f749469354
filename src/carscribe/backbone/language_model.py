"""A language model's small files: its config, tokenizer and chat template, read without torch or transformers.

Nothing is executed from it. Its weights are fetched only when it is to be put into a checkpoint.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carscribe.engines.checkpoint import (
    Checkpoint,
    check_weights,
    files_in,
    first_line,
    folder_called,
    open_checkpoint,
    read_json,
    weight_names,
)
from carscribe.engines.choosing import DEMO
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.hub import CONFIGURATION, LAST, Hub, Progress, unseen
from carscribe.engines.special_tokens import special_tokens
from carscribe.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A folder with a language model's small files. `revision` is the hub's commit, None for a folder.

    `listed` are the files of the folder, or of the hub's repository; None where the hub could not be asked.
    """

    name: str
    folder: Path
    revision: str | None
    config: dict[str, Any]
    generation: dict[str, Any]
    listed: tuple[str, ...] | None


class Words:
    """A tokenizer as its files have it. Ids are without what it puts around every text."""

    def __init__(self, name: str, folder: Path) -> None:
        """Raises: CheckpointError when there is no tokenizer.json, or it cannot be read."""
        if not (folder / TOKENIZER_FILES[0]).exists():
            raise CheckpointError(
                f"{name} has no tokenizer.json. Make one of what it has with transformers: "
                "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
            )
        tokenizer, self.config, named = (read_json(name, folder / file) for file in TOKENIZER_FILES)
        self.special = special_tokens(tokenizer, self.config, named)
        self._named = named
        self._backend = _backend(name, folder)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token's id."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    @cached_property
    def roles(self) -> dict[str, str | None]:
        """The tokens that a template may name, such as bos_token."""
        found = {key: value for key, value in {**self._named, **self.config}.items() if key.endswith("_token")}
        return {key: value["content"] if isinstance(value, dict) else value for key, value in found.items()}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def tokens_per_100_characters(self, text: str) -> float:
        """How well a text packs: fewer is better. `text` holds at least one character."""
        return 100 * len(self.ids(text)) / len(text)


def open_base(name: str, *, revision: str | None = None, hub: Hub | None = None) -> Checkpoint:
    """The InternVL3 whose vision tower is kept: a hub id, a folder, or demo. Only its small files are fetched.

    Raises: CheckpointError; MissingExtraError for a hub id without huggingface_hub.
    """
    if name == DEMO:
        return replace(open_checkpoint(str(demo_checkpoint())), name=DEMO)
    return open_checkpoint(name, revision, hub=hub, needs_weights=False)


def open_language_model(name: str, *, revision: str | None = None, hub: Hub | None = None) -> LanguageModel:
    """The language model called `name`: a folder, or a hub id, of which only the small files are fetched here.

    Raises: CheckpointError when there is none or it cannot be fetched; MissingExtraError as for `open_base`.
    """
    if folder := folder_called(name):
        if revision:
            raise CheckpointError(f"{name} is a folder, which has no revision: leave {revision} out.")
        return _read(name, folder, None, files_in(folder))
    hub = hub or Hub.of_environment()
    repository = hub.resolve(name, revision)
    small = repository.matching(CONFIGURATION)
    hub.fetch(repository, [file for file in small if file != LAST])
    hub.fetch(repository, [LAST])
    listed = None if repository.files is None else [file.name for file in repository.files]
    model = _read(name, repository.folder, repository.commit, listed)
    hub.remember(repository, revision)
    return model


def fetch_language_weights(model: LanguageModel, progress: Progress = unseen, *, hub: Hub | None = None) -> None:
    """Have the weights in the model's folder. Raises: CheckpointError when there are none as safetensors."""
    if model.listed is not None:
        check_weights(model.name, model.listed, model.folder)
    if model.revision is None:
        return
    here = files_in(model.folder)
    names = weight_names(model.name, model.listed if model.listed is not None else here, model.folder)
    if names and set(names) <= set(here):
        return
    hub = hub or Hub.of_environment()
    hub.fetch(hub.ask(model.name, model.revision), names, progress)


def template_of(model: LanguageModel, words: Words) -> str | None:
    """Its chat template, from the file of its own or the tokenizer's config; None where it has none."""
    path = model.folder / "chat_template.jinja"
    if path.exists():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{model.name}: {path} cannot be read: {first_line(error)}.") from None
    own = read_json(model.name, model.folder / "chat_template.json").get("chat_template")
    found = own or words.config.get("chat_template")
    if isinstance(found, list):
        return _default(found)
    return found if isinstance(found, str) and found else None


def _default(templates: Iterable[Any]) -> str | None:
    """Of several named templates the one that is for ordinary talk."""
    named = {each.get("name"): each.get("template") for each in templates if isinstance(each, dict)}
    found = named.get("default")
    return found if isinstance(found, str) else None


def _read(name: str, folder: Path, revision: str | None, listed: list[str] | None) -> LanguageModel:
    return LanguageModel(
        name=name,
        folder=folder,
        revision=revision,
        config=read_json(name, folder / "config.json", needed=True),
        generation=read_json(name, folder / "generation_config.json"),
        listed=None if listed is None else tuple(listed),
    )


def _backend(name: str, folder: Path) -> "Tokenizer":
    from carscribe.engines.new_checkpoint import bpe_of

    try:
        return bpe_of(folder)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from None
