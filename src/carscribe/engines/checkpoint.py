"""A checkpoint folder: found, fetched, and checked to be an InternVL3 that transformers knows, before torch loads.

Everything that differs between siblings is read here from the checkpoint's own files. Nothing is executed from it and
nothing but safetensors is loaded.
"""

import errno
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from carscribe.errors import CheckpointError, MissingExtraError
from carscribe.records import Tiling

FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")
"""What is fetched from a hub: configuration, tokenizer, template, weights. No Python, no pickles."""

STATIC_ROPE = frozenset({"default", "dynamic", "linear", "llama3", "yarn"})
"""Kinds of rotary embedding whose angles within the context length are a table; `dynamic` is plain there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checked folder and what its files say.

    `mean`, `std` (per channel) and `divisor` turn a byte into a pixel value: (byte / divisor - mean) / std.
    `image_tokens` is how many tokens one tile becomes. `revision` is the hub's commit, None for a folder.
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

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files, sorted."""
        return sorted(self.folder.glob("*.safetensors"))


def open_checkpoint(name: str, *, revision: str | None = None) -> Checkpoint:
    """The checkpoint called `name`: a folder, or a hub id that is fetched first.

    Raises: CheckpointError when there is none, it cannot be fetched, or it is no InternVL3 that can be run.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision:
            raise CheckpointError(f"--revision {revision} is for models of a hub; {name} is a folder. Leave it out.")
        return _read(name, folder, None)
    if folder.exists():
        raise CheckpointError(f"{name} is a file. --model takes a hub id or the folder of a checkpoint.")
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1:
        raise CheckpointError(f"No folder {name}. --model takes a hub id (OpenGVLab/InternVL3-1B-hf) or a folder.")
    snapshot, commit = _fetch(name, revision)
    return _read(name, snapshot, commit)


def _fetch(name: str, revision: str | None) -> tuple[Path, str]:
    """Download what is missing of a hub repository; (folder, commit)."""
    try:
        import httpx
        import huggingface_hub as hub
        from huggingface_hub import errors as hub_errors
    except ImportError:
        raise MissingExtraError("Running a model", extra="local") from None
    try:
        _check_disk(hub, name, revision)
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except hub_errors.HFValidationError as error:
        raise CheckpointError(f"{name!r} is neither a folder nor a hub id: {first_line(error)}") from None
    except hub_errors.GatedRepoError:
        raise CheckpointError(
            f"{name} is gated. Accept its licence on its page, then set HF_TOKEN to a token that may read it."
        ) from None
    except hub_errors.RevisionNotFoundError:
        raise CheckpointError(f"{name} has no revision {revision!r}. Leave out --revision for the newest.") from None
    except hub_errors.RepositoryNotFoundError:
        raise CheckpointError(
            f"The hub has no model {name}, or it is private (then set HF_TOKEN). "
            "The family is OpenGVLab/InternVL3-{1B,2B,8B,14B,38B,78B}-hf."
        ) from None
    except hub_errors.IncompleteSnapshotError:
        raise CheckpointError(
            f"The download of {name} is incomplete and the hub cannot be reached. Run the same command again with a "
            "network (and HF_HUB_OFFLINE unset): it goes on where it stopped."
        ) from None
    except hub_errors.LocalEntryNotFoundError:
        _no_hub(name)
    except hub_errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        advice = "Set HF_TOKEN to a token that may read it" if status in (401, 403) else "Try again, or set HF_ENDPOINT"
        raise CheckpointError(f"The hub refused {name}: {first_line(error)}. {advice}.") from None
    except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError, RuntimeError) as error:
        _no_hub(name, error)  # a broken connection, a proxy that refuses or cannot be spoken to, a portal's page
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CheckpointError(f"The disk is full while fetching {name}. Free some, or set HF_HOME.") from None
        if error.filename is None:
            _no_hub(name, error)
        raise CheckpointError(
            f"{name} cannot be kept at {error.filename}: {error.strerror}. Set HF_HOME to a folder that can be written."
        ) from None
    return folder, folder.name


def _check_disk(hub: Any, name: str, revision: str | None) -> None:
    """Refuse a download that cannot fit. Silent when the hub gives no answer: the cache may hold everything."""
    import httpx
    from huggingface_hub import constants

    try:
        found = hub.HfApi().model_info(name, revision=revision, files_metadata=True, timeout=10)
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError, RuntimeError):
        return  # whether it matters, and what to say then, is for the download to find out
    wanted = [s for s in found.siblings or [] if any(Path(s.rfilename).match(pattern) for pattern in FILES)]
    missing = [
        s for s in wanted if not isinstance(hub.try_to_load_from_cache(name, s.rfilename, revision=found.sha), str)
    ]
    need_bytes = sum(s.size or 0 for s in missing)
    cache = Path(constants.HF_HUB_CACHE)
    while not cache.exists():
        cache = cache.parent
    free_bytes = shutil.disk_usage(cache).free
    if need_bytes and need_bytes > free_bytes:
        raise CheckpointError(
            f"{name} needs {need_bytes / 2**30:.1f} GiB more on disk and {free_bytes / 2**30:.1f} GiB is free at "
            f"{cache}. Free some, set HF_HOME to a larger disk, or pick a smaller model."
        )


def _no_hub(name: str, error: BaseException | None = None) -> NoReturn:
    reason = f" ({first_line(error)})" if error and str(error) else ""
    raise CheckpointError(
        f"{name} is not on this machine and the hub cannot be reached{reason}. Check the network, HF_ENDPOINT and "
        "HF_HUB_OFFLINE, give --model the folder of a downloaded checkpoint, or try --model demo."
    )


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line; its type when it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read(name: str, folder: Path, revision: str | None) -> Checkpoint:
    try:
        return _interpret(name, folder, revision)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{name}: its config.json or preprocessor_config.json holds something unexpected "
            f"({type(error).__name__}: {first_line(error)}). Fetch it again, or pick another."
        ) from error


def _interpret(name: str, folder: Path, revision: str | None) -> Checkpoint:
    config = _json(name, folder / "config.json", needed=True)
    _check_kind(name, folder, config)
    vision, text = config.get("vision_config") or {}, config.get("text_config") or {}
    images = _json(name, folder / "preprocessor_config.json")
    images = images or _json(name, folder / "processor_config.json").get("image_processor") or {}
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
    )


def _check_kind(name: str, folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("model_type")
    if kind == "internvl_chat":
        raise CheckpointError(
            f"{name} is in OpenGVLab's own format, which needs remote code. Take its sibling in transformers' format: "
            "the same name with -hf behind it (InternVL3) or -HF (InternVL3.5)."
        )
    if kind != "internvl":
        raise CheckpointError(
            f"{name} is not an InternVL model: its config.json says model_type {kind!r}. "
            "Carscribe runs OpenGVLab/InternVL3-{1B,2B,8B,14B,38B,78B}-hf and models of the same architecture."
        )
    if not any(folder.glob("*.safetensors")):
        others = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth") for p in folder.glob(pattern))
        found = f"only {', '.join(others[:3])}, which can run code when loaded" if others else "none"
        raise CheckpointError(f"{name} needs its weights as *.safetensors; {found} in {folder}.")


def _json(name: str, path: Path, *, needed: bool = False) -> dict[str, Any]:
    if not path.exists():
        if needed:
            raise CheckpointError(f"{name} has no {path.name} ({path.parent}), so it is not a checkpoint's folder.")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: {path} cannot be read: {first_line(error)}. Fetch it again.") from None
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
