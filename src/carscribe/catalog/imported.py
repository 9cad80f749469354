"""Captions that were there before a model was asked, taken in as answers: a batch, a transaction.

Their condition has, for weights, where they are from ("imported:kohya"): no model is said to have answered. A plan
takes them for answers (`planning`), a reader shows them where the model that is asked has none (`reading`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from carscribe.catalog.comparing import AnswersThatCount
from carscribe.catalog.database import PAGE, imported_conditions, marks
from carscribe.catalog.entries import IMPORTED, Condition, PromptSet, Provenance
from carscribe.catalog.files import CatalogPath, Paths, metadata_of
from carscribe.catalog.noting import FileNotes
from carscribe.catalog.planning import begin_run, note_condition, now, provenance_id
from carscribe.catalog.prompt_sets import PromptSets, find_prompt, prompt_identity
from carscribe.catalog.text import compact_json
from carscribe.catalog.workspace import Workspace
from carscribe.catalog.writing import note_answered
from carscribe.found import PhotoList
from carscribe.named import Named
from carscribe.plaintext import plain_line
from carscribe.records import Language, Metadata, PhotoFile

SHOWN_CHARACTERS = 60
"""So much of a caption is shown where it is named."""

Id = TypeVar("Id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What a caption file says of a photo, as SQLite takes it. `where` says where it stands, for people."""

    file: PhotoFile
    language: Language
    text: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoIdentity:
    """A photo by its bytes, with its size after rotation."""

    sha256: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionsWanted:
    """How captions become answers: `source` says where they are from, `recipe` and `question` what they answer.

    `sets` has the recipe in a language, rendered for some metadata: one set, and one and the same tuple for the same.
    `identify` reads photos' bytes, or says why not.
    """

    source: str
    recipe: str
    question: str
    sets: Callable[[Metadata, Language], tuple[PromptSet, ...]]
    identify: Callable[[Sequence[PhotoFile]], Iterable[PhotoIdentity | str]]
    replace: bool = False
    approved: bool = False
    author: str | None = None


@dataclass(slots=True, kw_only=True)
class Taken:
    """What became of captions. `new`, `replaced` and `same` add up to those that count as answers, unless something
    stands above them: what a person wrote (`under_person`), or a model that was asked before (`under_model`).

    `conflicts` were not taken: another caption of the same photo was there first. `unreadable` are photos.
    """

    new: int = 0
    replaced: int = 0
    same: int = 0
    approved: int = 0
    languages: dict[Language, int] = field(default_factory=dict)
    conflicts: Named = field(default_factory=Named)
    under_person: Named = field(default_factory=Named)
    under_model: Named = field(default_factory=Named)
    unreadable: Named = field(default_factory=Named)


class _Known(NamedTuple):
    """An imported answer, or a verdict, that is there: its number (of a verdict, that of the answer) and its text.

    `by_import` says whether a verdict came with an import.
    """

    answer_id: int | None
    text: str | None
    by_import: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """A caption of a photo that is in the catalogue, and the prompt that it answers."""

    caption: Caption
    file_id: int
    photo_id: int
    prompt_id: int
    set_id: int

    @property
    def answer(self) -> tuple[int, int]:
        return self.photo_id, self.prompt_id

    @property
    def question(self) -> tuple[int, Language]:
        return self.photo_id, self.caption.language


class CaptionKeeper:
    """Takes captions in, batch by batch. `taken` grows on the way."""

    def __init__(self, workspace: Workspace, wanted: CaptionsWanted) -> None:
        """Begins no run yet: an import that changes nothing leaves none."""
        self.taken = Taken()
        self._workspace, self._connection, self._wanted = workspace, workspace.connection, wanted
        self._condition = Condition(
            weights=IMPORTED + wanted.source, model=IMPORTED + wanted.source, max_tiles=0, decoding="imported"
        )
        self._paths = Paths()
        self._sets = PromptSets(workspace)
        self._run_id: int | None = None
        self._condition_id = 0

    def keep(self, captions: Sequence[Caption]) -> None:
        """Take some captions: all of them are on disk when this returns. Raises: WorkspaceError."""
        with self._workspace.transaction():
            self._condition_id = note_condition(self._workspace, self._condition)
            self._take(self._once(self._placed(captions)))

    def close(self) -> None:
        """Note the sums, where something was taken. Raises: WorkspaceError."""
        if self._run_id is None:
            return
        figures = {"imported": self.taken.new + self.taken.replaced, "approved": self.taken.approved}
        with self._workspace.transaction():
            self._connection.execute(
                "UPDATE runs SET state = 'done', ended_at = ?, photos = ?, figures = ? WHERE id = ?",
                (now(), figures["imported"], compact_json(figures), self._run_id),
            )

    def _placed(self, captions: Sequence[Caption]) -> list[_Placed]:
        """The captions of photos that can be read, with their ids; files and photos are noted on the way."""
        paths = self._paths_of([caption.file for caption in captions])
        given: dict[CatalogPath, PhotoFile] = {}
        for caption, path in zip(captions, paths, strict=True):
            given.setdefault(path, caption.file)
        files = self._as_known(given)
        self._note(files, captions[0].language)
        found = self._identified(files)
        placed: list[_Placed] = []
        for caption, path in zip(captions, paths, strict=True):
            file_id, photo_id = found[path]
            if photo_id is None:
                continue
            sets = self._wanted.sets(files[path].metadata, caption.language)
            ((_, _, set_id),) = self._sets.wanted(sets).asked
            (prompt,) = (each for each in sets[0].prompts if each.question_id == self._wanted.question)
            prompt_id = find_prompt(self._connection, prompt_identity(prompt))
            placed.append(
                _Placed(caption=caption, file_id=file_id, photo_id=photo_id, prompt_id=prompt_id, set_id=set_id)
            )
        return placed

    def _paths_of(self, files: Sequence[PhotoFile]) -> list[CatalogPath]:
        return [path for block in PhotoList(files).blocks() for path in self._paths.of(block.folders)]

    def _as_known(self, given: Mapping[CatalogPath, PhotoFile]) -> dict[CatalogPath, PhotoFile]:
        """The files; a known one keeps its key and what was crawled with it, blanks filled from what is given."""
        files = dict(given)
        for some in _pages(list(given)):
            for path, key, *crawled in self._connection.execute(
                f"SELECT path, key, name, kind, extra FROM files WHERE path IN ({marks(len(some))})", some
            ):
                known, said = metadata_of(*crawled), given[path].metadata
                metadata = replace(known, name=known.name or said.name, kind=known.kind or said.kind)
                files[path] = replace(given[path], key=key, metadata=metadata)
        return files

    def _note(self, files: Mapping[CatalogPath, PhotoFile], language: Language) -> None:
        answers = AnswersThatCount(condition_id=self._condition_id)
        notes = FileNotes(self._workspace, PhotoList(files.values()), answers, say=lambda _: None)
        for _ in notes.open_files(lambda metadata: self._sets.wanted(self._wanted.sets(metadata, language))):
            pass  # what is left to ask of them is for a model's run

    def _identified(self, files: Mapping[CatalogPath, PhotoFile]) -> dict[CatalogPath, tuple[int, int | None]]:
        """The ids of files and of their photos; new photos are read, and those that cannot be are named."""
        found: dict[CatalogPath, tuple[int, int | None]] = {}
        for some in _pages(list(files)):
            rows = self._connection.execute(
                f"SELECT path, id, photo_id FROM files WHERE path IN ({marks(len(some))})", some
            )
            found |= {path: (file_id, photo_id) for path, file_id, photo_id in rows}
        unread = [path for path in files if found[path][1] is None]
        for path, photo in zip(unread, self._wanted.identify([files[path] for path in unread]), strict=True):
            if isinstance(photo, str):
                self.taken.unreadable.add(f"{files[path].key}: {photo}")
                continue
            self._connection.execute(
                "INSERT INTO photos (sha256, width_px, height_px) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (photo.sha256, photo.width_px, photo.height_px),
            )
            row = self._connection.execute("SELECT id FROM photos WHERE sha256 = ?", (photo.sha256,)).fetchone()
            file_id = found[path][0]
            self._connection.execute("UPDATE files SET photo_id = ? WHERE id = ?", (row[0], file_id))
            found[path] = file_id, row[0]
        return found

    def _once(self, placed: Sequence[_Placed]) -> list[_Placed]:
        """One caption for each photo and language: the first stays, of files with the same bytes too."""
        first: dict[tuple[int, int], _Placed] = {}
        for each in placed:
            known = first.setdefault(each.answer, each)
            if known is each:
                continue
            self._ask([each])
            if known.caption.text == each.caption.text:
                self.taken.same += 1
            else:
                self._conflict(each, f"{known.caption.where} says otherwise")
        return list(first.values())

    def _conflict(self, each: _Placed, why: str) -> None:
        self.taken.conflicts.add(f"{each.caption.file.key}: {each.caption.where} was not taken, since {why}")

    def _take(self, placed: Sequence[_Placed]) -> None:
        imported, by_model = self._answers(placed)
        verdicts = self._verdicts(placed)
        counting: list[_Placed] = []
        news: list[_Placed] = []
        for each in placed:
            known = imported.get(each.answer)
            if known is not None and known.text != each.caption.text and not self._wanted.replace:
                self._conflict(each, f"“{_short(known.text)}” was imported before; --replace takes this one")
                continue
            counting.append(each)
            if known is None or known.text != each.caption.text:
                news.append(each)
                self.taken.new += known is None
                self.taken.replaced += known is not None
            else:
                self.taken.same += 1
            language = each.caption.language
            self.taken.languages[language] = self.taken.languages.get(language, 0) + 1
            if _stands_above(verdicts.get(each.question), each, known):
                self.taken.under_person.add(f"{each.caption.file.key}: what a person said stays")
            elif each.answer in by_model and not self._wanted.approved:
                self.taken.under_model.add(f"{each.caption.file.key}: {by_model[each.answer]} has answered")
        self._insert(news)
        self._ask(counting)
        if self._wanted.approved:
            self._approve(counting, verdicts)

    def _answers(self, placed: Sequence[_Placed]) -> tuple[dict[tuple[int, int], _Known], dict[tuple[int, int], str]]:
        """By photo and prompt: what was imported last, and the model that answered last."""
        prompts = list({each.prompt_id for each in placed})
        those = set(imported_conditions(self._connection))
        imported: dict[tuple[int, int], _Known] = {}
        by_model: dict[tuple[int, int], str] = {}
        for some in _pages(list({each.photo_id for each in placed})):
            rows = self._connection.execute(
                "SELECT answers.id, photo_id, prompt_id, condition_id, text, model FROM answers"
                f" JOIN conditions ON conditions.id = condition_id WHERE photo_id IN ({marks(len(some))})"
                f" AND prompt_id IN ({marks(len(prompts))}) ORDER BY run_id, answers.id",
                (*some, *prompts),
            )
            for answer_id, photo_id, prompt_id, condition_id, text, model in rows:
                if condition_id in those:
                    imported[photo_id, prompt_id] = _Known(answer_id, text)
                else:
                    by_model[photo_id, prompt_id] = model
        return imported, by_model

    def _verdicts(self, placed: Sequence[_Placed]) -> dict[tuple[int, Language], _Known]:
        """By photo and language, the verdict that counts."""
        found: dict[tuple[int, Language], _Known] = {}
        for some in _pages(list({each.photo_id for each in placed})):
            rows = self._connection.execute(
                "SELECT photo_id, language, answer_id, text, note FROM verdicts"
                f" WHERE photo_id IN ({marks(len(some))}) AND recipe = ? AND question = ? ORDER BY id",
                (*some, self._wanted.recipe, self._wanted.question),
            )
            for photo_id, language, answer_id, text, note in rows:
                found[photo_id, language] = _Known(answer_id, text, by_import=(note or "").startswith(IMPORTED))
        return found

    def _insert(self, news: Sequence[_Placed]) -> None:
        if not news:
            return
        how = (self._condition_id, provenance_id(self._workspace, Provenance(dtype="", device="")), self._run())
        self._connection.executemany(
            "INSERT INTO answers (photo_id, prompt_id, condition_id, provenance_id, run_id, tiles, asked_tiles, text,"
            " tokens, finish, answered_at) VALUES (?, ?, ?, ?, ?, 0, 0, ?, 0, 'stop', ?)"
            " ON CONFLICT DO UPDATE SET run_id = excluded.run_id, text = excluded.text,"
            " answered_at = excluded.answered_at",
            [(*each.answer, *how, each.caption.text, now()) for each in news],
        )
        note_answered(self._connection, list({each.photo_id for each in news}), self._condition_id)

    def _ask(self, placed: Sequence[_Placed]) -> None:
        """Ask the question of files of which it is not asked, so that readers look for its answer.

        What a model is asked of a file stays: where it has not answered, a reader finds what was imported.
        """
        those = set(imported_conditions(self._connection))
        asked: dict[tuple[int, Language], tuple[int, bool]] = {}
        for some in _pages(list({each.file_id for each in placed})):
            rows = self._connection.execute(
                "SELECT file_id, language, prompt_set_id, condition_id FROM asks"
                f" WHERE file_id IN ({marks(len(some))}) AND recipe = ?",
                (*some, self._wanted.recipe),
            )
            asked |= {(row[0], row[1]): (row[2], row[3] in those) for row in rows}
        open_ = []
        for each in placed:
            set_id, is_import = asked.get((each.file_id, each.caption.language), (None, True))
            if is_import and set_id != each.set_id:
                asks = (each.file_id, self._wanted.recipe, each.caption.language, each.set_id, self._condition_id)
                open_.append(asks)
        if open_:
            self._connection.executemany(
                "INSERT INTO asks (file_id, recipe, language, prompt_set_id, condition_id, run_id)"
                f" VALUES (?, ?, ?, ?, ?, {self._run()})"
                " ON CONFLICT DO UPDATE SET prompt_set_id = excluded.prompt_set_id,"
                " condition_id = excluded.condition_id, run_id = excluded.run_id",
                open_,
            )

    def _approve(self, counting: Sequence[_Placed], verdicts: Mapping[tuple[int, Language], _Known]) -> None:
        imported, _ = self._answers(counting)
        rows = []
        for each in counting:
            answer, verdict = imported[each.answer], verdicts.get(each.question)
            if (verdict is not None and verdict.text == each.caption.text) or _stands_above(verdict, each, answer):
                continue
            rows.append(
                (
                    *(each.photo_id, self._wanted.recipe, self._wanted.question, each.caption.language),
                    *(each.caption.text, answer.answer_id, self._wanted.author, self._condition.model, now()),
                )
            )
        self._connection.executemany(
            "INSERT INTO verdicts (photo_id, recipe, question, language, decision, text, answer_id, author, note,"
            " judged_at) VALUES (?, ?, ?, ?, 'approved', ?, ?, ?, ?, ?)",
            rows,
        )
        self.taken.approved += len(rows)
        if rows:
            self._run()

    def _run(self) -> int:
        """The run of this import, begun when it has something to write."""
        if self._run_id is None:
            self._run_id = begin_run(self._workspace, self._condition, self._condition_id, 0)
            self._connection.execute(
                "UPDATE runs SET state = 'running', recipes = ? WHERE id = ?",
                (compact_json([self._wanted.recipe]), self._run_id),
            )
        return self._run_id


def _stands_above(verdict: _Known | None, each: _Placed, answer: _Known | None) -> bool:
    """Whether a person said otherwise. Who rejected another answer than this one said nothing of it."""
    if verdict is None or verdict.by_import or verdict.text == each.caption.text:
        return False
    return verdict.text is not None or (answer is not None and verdict.answer_id == answer.answer_id)


def _short(text: str | None) -> str:
    line = plain_line(text or "")
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"


def _pages(ids: Sequence[Id]) -> Iterator[Sequence[Id]]:
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]
