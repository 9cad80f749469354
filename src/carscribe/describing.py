"""`carscribe.describe`: what `carscribe describe` does, from Python."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from carscribe.engines import Engine
from carscribe.keeping import describe_into
from carscribe.pipeline import ModelRequest, ReadSettings, plan_run, run
from carscribe.records import PIXEL_LIMIT, PhotoResult


def describe(
    photos: str | Path | Sequence[str | Path],
    *,
    workspace: str | Path | None = None,
    metadata: str | Path | None = None,
    metadata_keys: Mapping[str, str] | None = None,
    skip_flagged: str | Path | None = None,
    model: str | None = None,
    recipes: Sequence[str | Path] = ("designer",),
    languages: Sequence[str] = ("en",),
    max_tiles: int | None = None,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    adapter: str | Path | None = None,
    compiled: bool = True,
    limit: int | None = None,
    exact_decode: bool = False,
    pixel_limit: int = PIXEL_LIMIT,
    retry_failed: bool = False,
    strict: bool = False,
    ask_imported: bool = False,
    engine: Engine | None = None,
) -> Iterator[PhotoResult]:
    """Describe photographs of cars: one result a photo, in the order given, as they are ready.

    The arguments are those of `carscribe describe`; `engine`, when given, is used instead of loading `model`. With a
    `workspace`, what it holds already is not asked again, and everything new is in it before it is yielded.

    Raises: InputError, WorkspaceError, CheckpointError, MissingExtraError before the first photo; EngineError later. A
        photo that cannot be read raises nothing: its result has an `error`.
    """
    plan = plan_run(
        photos,
        metadata=metadata,
        metadata_keys=metadata_keys,
        skip_flagged=skip_flagged,
        recipes=recipes,
        languages=languages,
        limit=limit,
        read=ReadSettings(max_tiles=max_tiles, pixel_limit=pixel_limit, exact_decode=exact_decode),
        compare_bytes=workspace is None,
    )
    choice = ModelRequest(
        model=model,
        revision=revision,
        device=device,
        dtype=dtype,
        adapter=None if adapter is None else Path(adapter),
        compiled=compiled,
    )
    if workspace is None:
        return run(plan, engine or choice.open())
    return describe_into(
        *(Path(workspace), plan, engine or choice),
        retry_failed=retry_failed,
        strict=strict,
        ask_imported=ask_imported,
    )
