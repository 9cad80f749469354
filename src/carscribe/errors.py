"""Every error Carscribe raises on purpose.

    CarscribeError
    ├── InputError            what the user gave cannot be used; nothing was started
    │   ├── PhotosError       no such folder, file or list, or no photo in it
    │   ├── MetadataError     the metadata file cannot be read
    │   ├── RecipeError       a recipe does not load, or lacks a language
    │   ├── SiteError         the description of a site to crawl does not load
    │   ├── VerdictsError     a file of verdicts cannot be used
    │   └── OutputError       the output file cannot be written, or holds something already
    ├── WorkspaceError        the workspace cannot be opened, read or written
    │   └── WorkspaceBusyError  another process writes to it
    ├── CollectError          a crawl cannot go on, or gave nothing
    ├── MissingExtraError     an optional dependency is not installed
    ├── CheckpointError       no such model, not an InternVL, hub or disk trouble
    ├── PhotoError            one photo cannot be read: it is set aside, the run goes on
    └── EngineError           the engine cannot go on
        ├── OutOfMemoryError  the batch does not fit: the caller tries a smaller one
        └── NumericsError     the model's logits are not finite: another dtype is needed

A message says what happened, the numbers, and what to do next. The command line prints it as one line; anything that
is not a `CarscribeError` is a defect and keeps its traceback.
"""


class CarscribeError(Exception):
    """Root of the tree."""


class InputError(CarscribeError):
    """What the user gave cannot be used; nothing was started."""


class PhotosError(InputError):
    """No such folder, file or list, or no photo in it."""


class MetadataError(InputError):
    """The metadata file cannot be read."""


class RecipeError(InputError):
    """A recipe does not load, or lacks a language."""


class SiteError(InputError):
    """The description of a site to crawl does not load."""


class OutputError(InputError):
    """The output file cannot be written, or holds something already."""


class VerdictsError(InputError):
    """A file of verdicts cannot be used; nothing of it was taken."""


class WorkspaceError(CarscribeError):
    """The workspace cannot be opened, read or written; what was kept before is kept."""


class WorkspaceBusyError(WorkspaceError):
    """Another process writes to the workspace."""


class CollectError(CarscribeError):
    """A crawl cannot go on, or gave nothing; what was kept before is kept."""


class MissingExtraError(CarscribeError):
    """An optional dependency is not installed.

    >>> print(MissingExtraError("Reading Parquet", extra="parquet"))
    Reading Parquet needs an optional dependency. Install it with: pip install 'carscribe[parquet]'
    """

    def __init__(self, purpose: str, *, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency. Install it with: pip install 'carscribe[{extra}]'")
        self.extra = extra


class CheckpointError(CarscribeError):
    """No such model, not an InternVL, hub or disk trouble."""


class PhotoError(CarscribeError):
    """One photo cannot be read: it is set aside, the run goes on."""


class EngineError(CarscribeError):
    """The engine cannot go on."""


class OutOfMemoryError(EngineError):
    """The batch does not fit in memory: the caller tries a smaller one."""


class NumericsError(EngineError):
    """The model's logits are not finite: another dtype is needed."""
