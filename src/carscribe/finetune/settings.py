"""The settings of a training, as a TOML file may give them. A misspelt key is an error."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from carscribe.errors import InputError


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewModel(_Table):
    """A model made from nothing: InternVL3's architecture in these sizes, its tokenizer trained on the data's texts."""

    vocabulary: int = 4096
    tile_px: int = 112
    patch_px: int = 14
    most_tiles: int = 12
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_mlp: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int


class Settings(_Table):
    """All that decides a training besides model and data. The defaults are for LoRA on a GPU of 24 GB and more.

    `rows`: packed (all pairs of a photo beside one reading of it), plain (a row a pair) or turns (a conversation).
    `train`: lora, qlora (needs bitsandbytes), or full (all language weights). `vision` and `projector` say whether
    these learn too. `batch_photos` photos make a batch on each GPU, `accumulate` batches a step. Either `epochs` or
    `steps` ends it. `most_pairs` of a photo are taken at a time, at random; with `mirror` every other time a photo is
    seen in a mirror (where no answer says left or right). `held_out` is the share of photos, by groups of
    near-duplicates and of one car, on which progress is measured.
    """

    rows: Literal["packed", "plain", "turns"] = "packed"
    train: Literal["lora", "qlora", "full"] = "lora"
    vision: bool = False
    projector: bool = False
    lora_rank: int = Field(16, ge=1)
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup", "warmup_stable_decay"] = "cosine"
    warmup_share: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = 0.0
    beta2: float = 0.999
    most_grad_norm: float = 1.0
    epochs: float = Field(3.0, gt=0)
    steps: int | None = Field(None, ge=1)
    batch_photos: int = Field(4, ge=1)
    accumulate: int = Field(4, ge=1)
    max_tiles: int | None = Field(None, ge=1)
    most_pairs: int | None = Field(None, ge=1)
    mirror: bool = False
    checkpointing: bool = True
    compile: bool = False
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    held_out: float = Field(0.1, ge=0, lt=1)
    workers: int = Field(2, ge=0)
    log_every: int = Field(10, ge=1)
    save_every: int = Field(200, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    seed: int = 0
    new_model: NewModel | None = None


def load_settings(path: Path | None, **changes: object) -> Settings:
    """Settings from a TOML file, what was said on the command line (not None) in their place.

    Raises: InputError with everything that is wrong with it.
    """
    found: dict[str, object] = {}
    if path is not None:
        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path} does not exist: check the path of --config.") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} is not TOML that can be read: {error}.") from None
    found |= {key: value for key, value in changes.items() if value is not None}
    try:
        return Settings.model_validate(found)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InputError(f"{path or 'The settings'}: {said}. The keys are in docs/finetune.md.") from None
