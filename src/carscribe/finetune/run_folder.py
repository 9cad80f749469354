"""The folder that a training leaves behind: begun, gone on with, written by one process at a time.

TO/
  run.json       settings, model, data, versions; how far it came
  curves.json    loss and accuracy of tokens, learned and held out; curves.png, the same as a picture
  samples.json   what the model said to held-out questions before and after
  checkpoints/   what a stopped training goes on from
  adapter/       the LoRA, for `describe --adapter TO`; or model/, a whole checkpoint
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from carscribe.errors import InputError, OutputError

RUN, LOCK = "run.json", ".lock"
ADAPTER, MODEL, CHECKPOINTS, NEW = "adapter", "model", "checkpoints", "new"

PASSING = frozenset({"log_every", "save_every", "keep_checkpoints", "workers", "checkpointing", "compile"})
"""Settings that decide nothing of what is learned: a training may go on with others."""

Say = Callable[[str], None]


@contextmanager
def sole_training(to: Path) -> Iterator[None]:
    """Be the only process that trains into `to` while the block runs. It is made, and goes when it stays empty.

    Raises: InputError when another one trains there, or the folder holds something else; OutputError when nothing can
        be written there.
    """
    noted = read_run(to)
    if noted is not None and noted.get("done"):
        raise InputError(f"{to} holds a training that was done. Name a new folder with --to.")
    try:
        if noted is None and to.exists() and any(path.name != LOCK for path in to.iterdir()):
            raise InputError(f"{to} is a folder with other things in it. Name a new one with --to.")
        to.mkdir(parents=True, exist_ok=True)
        lock = FileLock(to / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"Another process trains into {to}. Wait for it, or name a new folder with --to.") from None
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{to} cannot be written: {why}. Name another folder with --to.") from None
    try:
        yield
    finally:
        if read_run(to) is None:
            (to / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            to.rmdir()


def begin(to: Path, plan: Mapping[str, Any], more: Mapping[str, Any], say: Say) -> None:
    """Note a new training and `more` of it, or find in the folder one with an equal plan to go on with.

    One that was stopped before its first checkpoint begins anew, whatever its settings were: there is nothing to lose.

    Raises: InputError when the plan is another.
    """
    noted = read_run(to)
    if noted is None or last_checkpoint(to) is None:
        for name in (CHECKPOINTS, NEW):
            shutil.rmtree(to / name, ignore_errors=True)
        write_json(to / RUN, {**plan, **more, "done": False})
        return
    if differing := list(_differing(noted, json.loads(json.dumps(plan)))):
        raise InputError(
            f"{to} holds a training with another {' and '.join(differing)} that was not done. "
            "Go on with the command it was begun with, or name a new folder with --to."
        )
    say(f"Going on with the training in {to}.")


def _differing(noted: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    """What of two plans differs and matters, for people."""
    for key, now in plan.items():
        before = noted.get(key)
        if isinstance(now, dict) and isinstance(before, dict):
            changed = [name for name in sorted({*now, *before} - PASSING) if now.get(name) != before.get(name)]
            told = [f"{name} {before.get(name)}, now {now.get(name)}" for name in changed if name != "digest"]
            if changed:
                yield f"{key} ({'; '.join(told) or 'other photos or texts'})"
        elif now != before:
            yield f"{key} ({before}, now {now})"


def last_checkpoint(to: Path) -> Path | None:
    """The newest checkpoint of a stopped training that was written to its end; None without one."""
    found = {
        int(path.name.partition("-")[2]): path
        for path in (to / CHECKPOINTS).glob("checkpoint-*")
        if path.name.partition("-")[2].isdecimal() and _is_whole(path)
    }
    return found[max(found)] if found else None


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))  # transformers writes it last
    except (OSError, ValueError):
        return False
    return True


def read_run(folder: Path) -> dict[str, Any] | None:
    """What is noted of a training; None in a folder without one. Raises: InputError when it cannot be read."""
    path = folder / RUN
    try:
        noted = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. Name a new folder with --to.") from None
    if not isinstance(noted, dict):
        raise InputError(f"{path} is no note of a training. Name a new folder with --to.")
    return noted


def note(to: Path, more: Mapping[str, Any]) -> None:
    """Add to what is noted of a training."""
    write_json(to / RUN, {**(read_run(to) or {}), **more})


def write_json(path: Path, content: object) -> None:
    """Written beside, then put in its place."""
    beside = path.with_name(f".{path.name}")
    with beside.open("w", encoding="utf-8", errors="backslashreplace") as out:
        out.write(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)


@contextmanager
def whole_folder(to: Path) -> Iterator[Path]:
    """A folder beside `to` to write into; it takes the place of `to` when the block ends well, and goes when not."""
    beside = to.with_name(f".{to.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(to, ignore_errors=True)
    beside.replace(to)
