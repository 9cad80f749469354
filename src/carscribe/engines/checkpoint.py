"""A checkpoint: found, fetched in part or whole, and checked to be an InternVL3 that transformers knows.

Everything that differs between siblings is read here from the checkpoint's own small files, before its weights are
fetched and without torch. Nothing is executed from it and nothing but safetensors is loaded.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.engines.hub import CONFIGURATION, LAST, Hub, Progress, unseen
from carscribe.engines.hub_failures import FAMILY_NAMES
from carscribe.engines.identity import commit_of, files_identity
from carscribe.engines.special_tokens import special_tokens
from carscribe.errors import CheckpointError
from carscribe.records import Tiling

STATIC_ROPE = frozenset({"default", "dynamic", "linear", "llama3", "yarn"})
"""Kinds of rotary embedding whose angles within the context length are a table; `dynamic` is plain there."""

WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
"""Weights are one file, or the files that the index names. Source: transformers, which looks in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checked folder and what its files say. The weights of a hub's model may not be there yet.

    `mean`, `std` (per channel) and `divisor` turn a byte into a pixel value: (byte / divisor - mean) / std.
    `image_tokens` is how many tokens one tile becomes. `revision` is the hub's commit, None for a folder. `reserved`
    holds the special tokens: texts that a prompt must not hold.
    """

    name: str
    folder: Path
    revision: str | None
    config: dict[str, Any]
    tiling: Tiling
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    divisor: float
    image_tokens: int
    image_token_id: int
    context_tokens: int
    reserved: frozenset[str]

    @property
    def has_weights(self) -> bool:
        """Whether all weights are in the folder."""
        here = files_in(self.folder)
        names = weight_names(self.name, here, self.folder)
        return bool(names) and set(names) <= set(here)

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files that are in the folder, sorted."""
        return sorted(self.folder.glob("*.safetensors"))

    @property
    def weight_bytes(self) -> int:
        """Size of the weights that are in the folder."""
        return sum(path.stat().st_size for path in self.weight_files)


def open_checkpoint(
    name: str, revision: str | None = None, *, hub: Hub | None = None, needs_weights: bool = True
) -> Checkpoint:
    """The checkpoint called `name`: a folder, or a hub id, of which only the small files are fetched here.

    `hub` is the one that the environment describes when None. Without `needs_weights` nobody looks whether it has any.
    Imports neither torch nor transformers.

    Raises: CheckpointError when there is none, it cannot be fetched, or it is no InternVL3 that can be run;
        MissingExtraError for a hub id without huggingface_hub.
    """
    if folder := folder_called(name):
        if revision:
            raise CheckpointError(f"--revision {revision} is for models of a hub; {name} is a folder. Leave it out.")
        checkpoint = _read(name, folder, None)
        if needs_weights:
            check_weights(name, files_in(folder), folder)
        return checkpoint
    hub = hub or Hub.of_environment()
    repository = hub.resolve(name, revision)
    small = repository.matching(CONFIGURATION)
    hub.fetch(repository, [file for file in small if file != LAST])
    hub.fetch(repository, [LAST])
    checkpoint = _read(name, repository.folder, repository.commit)
    if needs_weights and repository.files is not None:
        check_weights(name, [file.name for file in repository.files], repository.folder)
    hub.remember(repository, revision)
    return checkpoint


def fetch_weights(checkpoint: Checkpoint, progress: Progress = unseen, *, hub: Hub | None = None) -> Checkpoint:
    """The checkpoint with its weights on this machine, fetched at its own commit where they are missing.

    `progress` is told of it ten times a second. An interrupt leaves what has come; the next call goes on from there.

    Raises: CheckpointError when there is too little room on the disk, or the hub, the network or the disk fails.
    """
    if checkpoint.revision is None or checkpoint.has_weights:
        return checkpoint
    hub = hub or Hub.of_environment()
    repository = hub.ask(checkpoint.name, checkpoint.revision)
    listed = [file.name for file in repository.files or ()]
    hub.fetch(repository, weight_names(checkpoint.name, listed, checkpoint.folder), progress)
    return checkpoint


def weights_identity(checkpoint: Checkpoint, say: Callable[[str], None] = lambda _: None) -> str:
    """What tells these weights, and all else that decides an answer, from any others.

    `hub:<commit>` for a hub's model, fetched or not, and for the folder in which the hub's cache keeps it;
    `files:<sha256>` for any other folder. `say` is told when that takes long.

    Raises: CheckpointError when a file cannot be read.
    """
    if commit := checkpoint.revision or commit_of(checkpoint.folder):
        return f"hub:{commit}"
    try:
        return f"files:{files_identity(checkpoint.folder, checkpoint.weight_files, checkpoint.name, say)}"
    except OSError as error:
        raise CheckpointError(f"{checkpoint.name}: {error.filename} cannot be read: {error.strerror}.") from None


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line; its type when it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read(name: str, folder: Path, revision: str | None) -> Checkpoint:
    try:
        return _interpret(name, folder, revision)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{name}: its configuration or tokenizer files hold something unexpected "
            f"({type(error).__name__}: {first_line(error)}). Fetch it again, or pick another."
        ) from error


def _interpret(name: str, folder: Path, revision: str | None) -> Checkpoint:
    config = read_json(name, folder / "config.json", needed=True)
    _check_kind(name, config)
    vision, text = config.get("vision_config") or {}, config.get("text_config") or {}
    images = read_json(name, folder / "preprocessor_config.json")
    images = images or read_json(name, folder / "processor_config.json").get("image_processor") or {}
    tile_px = _side(name, "image_size", vision.get("image_size", 448))
    patch_px = _side(name, "patch_size", vision.get("patch_size", 14))
    image_tokens = int((tile_px // patch_px) ** 2 * config.get("downsample_ratio", 0.5) ** 2)
    _check_same(name, "image_seq_length", config.get("image_seq_length", 256), image_tokens)
    size = images.get("size", {})
    _check_same(name, "size of the image processor", size.get("height", tile_px), tile_px)
    _check_same(name, "size of the image processor", size.get("width", tile_px), tile_px)
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type not in STATIC_ROPE:
        raise CheckpointError(f"{name} has rotary embeddings of type {rope_type!r}, which Carscribe does not run.")
    return Checkpoint(
        name=name,
        folder=folder,
        revision=revision,
        config=config,
        tiling=Tiling(
            tile_px=tile_px,
            min_tiles=int(images.get("min_patches", 1)),
            max_tiles=int(images.get("max_patches", 12)),
            resample=int(images.get("resample", 3)),
        ),
        mean=_channels(name, images, "image_mean") if images.get("do_normalize", True) else (0.0, 0.0, 0.0),
        std=_channels(name, images, "image_std") if images.get("do_normalize", True) else (1.0, 1.0, 1.0),
        divisor=1 / images.get("rescale_factor", 1 / 255) if images.get("do_rescale", True) else 1.0,
        image_tokens=image_tokens,
        image_token_id=int(config["image_token_id"]),
        context_tokens=int(text.get("max_position_embeddings", 32768)),
        reserved=_reserved(name, folder),
    )


def _check_kind(name: str, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind == "internvl_chat":
        raise CheckpointError(
            f"{name} is in OpenGVLab's own format, which needs remote code. Take its sibling in transformers' format: "
            "the same name with -hf behind it (InternVL3) or -HF (InternVL3.5)."
        )
    if kind != "internvl":
        raise CheckpointError(
            f"{name} is not an InternVL model: its config.json says model_type {kind!r}. "
            f"Carscribe runs {FAMILY_NAMES} and models of the same architecture."
        )


def check_weights(name: str, files: Collection[str], folder: Path) -> None:
    """Refuse a checkpoint among whose files the weights are not, or not all, or not as safetensors."""
    names = weight_names(name, files, folder)
    if not names:
        others = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth")))
        found = f"it has {', '.join(others[:3])}, which can run code when loaded" if others else "it has none"
        raise CheckpointError(
            f"{name} needs its weights as safetensors ({WEIGHTS}, or parts and their index); {found}."
        )
    if missing := [file for file in names if file not in files]:
        raise CheckpointError(
            f"{name} lacks {len(missing)} of the {len(names)} weight files that {WEIGHTS_INDEX} names ({missing[0]}). "
            "Copy or fetch it again."
        )


def weight_names(name: str, files: Collection[str], folder: Path) -> list[str]:
    """Which files hold the weights, sorted; those that an index in `folder` names may be missing in `files`."""
    if WEIGHTS in files:
        return [WEIGHTS]
    if WEIGHTS_INDEX not in files:
        return []
    parts = read_json(name, folder / WEIGHTS_INDEX, needed=True).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise CheckpointError(f"{name}: {folder / WEIGHTS_INDEX} names no weights. Fetch it again.")
    return sorted(set(map(str, parts.values())))


def folder_called(name: str) -> Path | None:
    """The folder called `name`; None when it looks like a hub id. Raises: CheckpointError when it is neither."""
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        is_there = folder.exists()
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{name[:200]} cannot be read: {first_line(error)}.") from None
    if is_there:
        raise CheckpointError(f"{name} is a file. Give a hub id or the folder of a checkpoint.")
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1:
        raise CheckpointError(f"No folder {name}. Give a hub id (OpenGVLab/InternVL3-1B-hf) or a folder.")
    return None


def files_in(folder: Path) -> list[str]:
    """Names of the files in a folder. Raises: CheckpointError."""
    try:
        return [path.name for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror}.") from None


def _reserved(name: str, folder: Path) -> frozenset[str]:
    files = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    return special_tokens(*(read_json(name, folder / file) for file in files))


def read_json(name: str, path: Path, *, needed: bool = False) -> dict[str, Any]:
    """The object in a JSON file of the model `name`; an empty one where there is no file and none is `needed`.

    Raises: CheckpointError.
    """
    if not path.exists():
        if needed:
            raise CheckpointError(f"{name} has no {path.name} ({path.parent}), so it is not a checkpoint's folder.")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{name}: {path} cannot be read: {first_line(error)}. Delete it, then fetch it again."
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{name}: {path} should hold an object, not a {type(content).__name__}.")
    return content


def _side(name: str, key: str, value: int | list[int]) -> int:
    sides = set(value) if isinstance(value, list) else {value}
    if len(sides) != 1:
        raise CheckpointError(f"{name} has a {key} of {value}; only squares are run.")
    return int(sides.pop())


def _check_same(name: str, what: str, said: int, computed: int) -> None:
    if said != computed:
        raise CheckpointError(f"{name} contradicts itself: its {what} is {said}, its vision tower makes it {computed}.")


def _channels(name: str, images: dict[str, Any], key: str) -> tuple[float, float, float]:
    value = images.get(key)
    if value is None:
        raise CheckpointError(f"{name} has no {key} in its preprocessor_config.json; fetch the checkpoint again.")
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3:
        raise CheckpointError(f"{name} has {len(values)} values for {key}; three are needed.")
    return float(values[0]), float(values[1]), float(values[2])
