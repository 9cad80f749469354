"""The settings of a training, as a TOML file may give them. A misspelt key is an error."""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from carscribe.errors import InputError


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NewModel(_Table):
    """A model made from nothing: InternVL3's architecture in these sizes.

    Its tokenizer is trained on the data's texts, at most `vocabulary` tokens; or it is that of the model `tokenizer`
    names, so that what the data does not hold (another language) can be learned later in tokens and not in bytes.
    """

    tokenizer: str | None = None
    vocabulary: int = Field(4096, ge=512)
    tile_px: int = Field(112, ge=1)
    patch_px: int = Field(14, ge=1)
    most_tiles: int = Field(12, ge=1)
    vision_hidden: int = Field(ge=1)
    vision_layers: int = Field(ge=1)
    vision_heads: int = Field(ge=1)
    vision_mlp: int = Field(ge=1)
    hidden: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)
    mlp: int = Field(ge=1)

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        for name, of, whole, part in (
            ("vision_hidden", "vision_heads", self.vision_hidden, self.vision_heads),
            ("hidden", "twice heads", self.hidden, 2 * self.heads),  # a head's width is rotated in pairs
            ("heads", "kv_heads", self.heads, self.kv_heads),
            ("tile_px", "twice patch_px", self.tile_px, 2 * self.patch_px),  # four patches become one token
        ):
            if whole % part:
                raise ValueError(f"{name} is {whole}, which is no multiple of {of} ({part})")
        return self


class Settings(_Table):
    """All that decides a training besides model and data. The defaults are for LoRA on a GPU of 24 GB and more.

    `rows`: packed (all pairs of a photo beside one reading of it), plain (a row a pair) or turns (a conversation).
    `train`: lora, qlora (needs bitsandbytes), full (all language weights), or projector (it alone; language and vision
    are frozen). `vision` and `projector` say whether these learn too. `batch_photos` photos make a batch on each GPU,
    `accumulate` batches a step. Either `epochs` or `steps` ends it. `most_pairs` of a photo are taken at a time, at
    random; with `mirror` every other time a photo is seen in a mirror (where no answer says left or right). `held_out`
    is the share of photos, by groups of near-duplicates and of one car, on which progress is measured.
    """

    rows: Literal["packed", "plain", "turns"] = "packed"
    train: Literal["lora", "qlora", "full", "projector"] = "lora"
    vision: bool = False
    projector: bool = False
    lora_rank: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup", "warmup_stable_decay"] = "cosine"
    warmup_share: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    beta2: float = Field(0.999, gt=0, lt=1)
    most_grad_norm: float = Field(1.0, gt=0)
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
    seed: int = Field(0, ge=0, lt=2**32)
    new_model: NewModel | None = None

    @property
    def gives_adapter(self) -> bool:
        """Whether what comes of it is an adapter, and not a whole checkpoint."""
        return self.train in ("lora", "qlora")

    @model_validator(mode="after")
    def _frozen_is_frozen(self) -> Self:
        if self.train == "projector" and self.vision:
            raise ValueError('train = "projector" keeps the vision tower frozen, and vision = true has it learn')
        return self


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
