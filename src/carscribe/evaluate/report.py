"""An evaluation from beginning to end: a workspace and labels in, one report out."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from carscribe.catalog.workspace import is_workspace, read_workspace, write_workspace
from carscribe.errors import InputError
from carscribe.evaluate.agreement import (
    LanguageAgreement,
    OpenAgainstChoice,
    ReversedOrder,
    languages_agree,
    open_against_choice,
    orders_agree,
)
from carscribe.evaluate.answers import Answered, gather
from carscribe.evaluate.calibrating import CalibratedChoice, calibrate, keep_all
from carscribe.evaluate.comparing import Comparison, compare
from carscribe.evaluate.judging import AttributeMeasure, Judged, judge_all, measure
from carscribe.evaluate.labels import LabelSet, Source, labels_of_kinds, read_labels
from carscribe.evaluate.probes import Probed, ProbeMeasure, measure_probe
from carscribe.evaluate.scoring import BINS
from carscribe.evaluate.texts import DescriptionMeasure, TextMeasure, measure_descriptions, measure_texts
from carscribe.evaluate.vocabulary import Vocabulary, load_vocabulary
from carscribe.question_names import question_name
from carscribe.records import Language

WORTHLESS = "The demo model's answers on real cars are worth nothing."
FEW_LABELLED = 100
_WORST = 24
_NAMED = 3
_WEIGHT = {"contradicted": 3, "invented": 2, "unsaid": 1}


AskAgain = Callable[[Answered, Collection[str]], Probed]
"""Asks choices again of photos of which there are answers; those whose hash is given, for they have labels, first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What to evaluate, and against what. `model` None: that of the last run."""

    workspace: Path
    labels: Path | None = None
    vocabulary: Path | None = None
    recipe: str | None = None
    languages: tuple[Language, ...] = ()
    model: str | None = None
    against: str | None = None
    calibrate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstPhoto:
    """A labelled photo with what is wrong about it, the most serious first."""

    photo: str
    location: str
    wrong: tuple[Judged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCount:
    """How many photos labels of one source cover, and what was passed over."""

    source: Source
    photos: int
    labels: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that was found. `disclaimer` says that nothing of it counts, where that is so. `probe` None: not probed."""

    workspace: str
    models: tuple[str, ...]
    recipes: tuple[str, ...]
    languages: tuple[Language, ...]
    photos: int
    answers: int
    disclaimer: str | None
    notes: tuple[str, ...]
    labels: tuple[LabelCount, ...]
    attributes: tuple[AttributeMeasure, ...]
    calibrated: tuple[CalibratedChoice, ...]
    orders: tuple[ReversedOrder, ...]
    agreement: tuple[LanguageAgreement, ...]
    contradictions: tuple[OpenAgainstChoice, ...]
    texts: tuple[TextMeasure, ...]
    descriptions: tuple[DescriptionMeasure, ...]
    comparison: Comparison | None
    worst: tuple[WorstPhoto, ...]
    probe: ProbeMeasure | None = None

    def name_of(self, recipe: str, question: str) -> str:
        """What a question is called among those of the report."""
        asked = {(each.recipe, each.question) for each in self.attributes}
        asked |= {(each.recipe, each.question) for each in self.texts}
        asked |= {(each.recipe, each.question) for each in self.agreement}
        asked |= {(each.recipe, each.question) for each in self.probe.choices} if self.probe else set()
        return question_name(recipe, question, asked)


def evaluate(request: EvaluationRequest, ask_again: AskAgain | None = None) -> Report:
    """Evaluate a workspace; with `calibrate`, keep temperatures in it; with `ask_again`, choices are asked once more.

    `ask_again` is called when everything else is known to be in order: see `carscribe.probing`.

    Raises: InputError, WorkspaceError, MissingExtraError (Parquet labels); what `ask_again` raises.
    """
    vocabulary = load_vocabulary(request.vocabulary)
    if request.calibrate and request.labels is None:
        raise InputError("Calibrating needs labels that people gave: add --labels FILE.")
    with read_workspace(request.workspace) as opened:
        answered = gather(opened, recipe=request.recipe, languages=request.languages, model=request.model)
    labels = _labels(request, answered, vocabulary)
    judged = {each.source: judge_all(answered, each, vocabulary) for each in labels}
    if request.labels is not None and not judged["labels"]:
        raise InputError(_nothing_judged(request, labels[0], answered, vocabulary))
    calibrated = calibrate(judged["labels"], vocabulary) if request.calibrate else ()
    report = _report(request, answered, vocabulary, labels, judged, calibrated)
    if ask_again is not None:
        probed = ask_again(answered, _labelled(labels))
        report = _with_probe(report, measure_probe(probed, answered, labels, vocabulary))
    if request.calibrate:
        with write_workspace(request.workspace, create=False) as opened:
            keep_all(opened, calibrated)
    return report


def report_json(report: Report) -> dict[str, Any]:
    """All of a report for machines: its fields by name."""
    plain = asdict(replace(report, worst=()))
    if report.probe is None:
        del plain["probe"]
    for each in plain["calibrated"]:
        del each["answer_ids"]
    plain["worst"] = [
        {
            "photo": each.photo,
            "wrong": [
                {
                    "recipe": wrong.said_by.asked.recipe,
                    "question": wrong.said_by.asked.question,
                    "language": wrong.said_by.asked.language,
                    "attribute": wrong.attribute,
                    "judgement": wrong.judgement,
                    "answer": wrong.said_by.answer.text,
                    "said": list(wrong.said),
                    "right": list(wrong.right),
                }
                for wrong in each.wrong
            ],
        }
        for each in report.worst
    ]
    return plain


def _report(
    request: EvaluationRequest,
    answered: Answered,
    vocabulary: Vocabulary,
    labels: Sequence[LabelSet],
    judged: Mapping[Source, Sequence[Judged]],
    calibrated: tuple[CalibratedChoice, ...],
) -> Report:
    worthless = answered.by_demo_model and not vocabulary.own
    return Report(
        workspace=answered.workspace,
        models=answered.models,
        recipes=answered.recipes,
        languages=answered.languages,
        photos=len(answered.photos),
        answers=sum(len(photo.answers) for photo in answered.photos),
        disclaimer=WORTHLESS if worthless else None,
        notes=tuple(_notes(answered, labels, calibrated, worthless=worthless)),
        labels=tuple(
            LabelCount(source=each.source, photos=each.photos, labels=len(each.labels), notes=each.notes)
            for each in labels
        ),
        attributes=tuple(found for source, group in judged.items() for found in measure(group, source, vocabulary)),
        calibrated=calibrated,
        orders=orders_agree(answered, labels, vocabulary),
        agreement=languages_agree(answered, vocabulary),
        contradictions=open_against_choice(answered, vocabulary),
        texts=measure_texts(answered),
        descriptions=measure_descriptions(answered),
        comparison=_comparison(request, answered, vocabulary, labels, judged),
        worst=_worst(next(iter(judged.values()), ())),
    )


def _labelled(labels: Sequence[LabelSet]) -> frozenset[str]:
    """Hashes of photos that people labelled."""
    return frozenset(label.sha256 for each in labels if each.source == "labels" for label in each.labels)


def _with_probe(report: Report, probe: ProbeMeasure) -> Report:
    """The report with what was found when choices were asked again, and notes on what was not asked."""
    notes: list[str] = []
    if probe.passed_over:
        some = "; ".join(f"{each.photo}: {each.why}" for each in probe.passed_over[:_NAMED])
        more = "; …" if len(probe.passed_over) > _NAMED else ""
        notes.append(f"{len(probe.passed_over):,} photos were passed over when choices were asked again: {some}{more}")
    if probe.of_others:
        notes.append(
            f"{probe.of_others:,} choices were answered by another model, or with another --max-tiles, and were not "
            "asked again: name it with --model, or describe anew."
        )
    for each in probe.choices:
        name = f"{each.question} ({each.language})"
        if not each.listed:
            notes.append(f"{name}: its words do not list its choices in their order, so there is no order to reverse.")
        if each.repeated.count < each.repeated.total:
            notes.append(
                f"{name}: {each.repeated.total - each.repeated.count} of {each.repeated.total} answers are not those "
                "that are kept although nothing was reversed (another dtype, GPU or version): so much is chance."
            )
    return replace(report, probe=probe, notes=(*report.notes, *notes))


def _labels(request: EvaluationRequest, answered: Answered, vocabulary: Vocabulary) -> list[LabelSet]:
    """Labels of people before the kinds that were crawled."""
    found: list[LabelSet] = []
    if request.labels is not None:
        found.append(read_labels(request.labels, answered.photos, vocabulary))
    if kinds := labels_of_kinds(answered.photos, vocabulary):
        found.append(kinds)
    return found


def _comparison(
    request: EvaluationRequest,
    answered: Answered,
    vocabulary: Vocabulary,
    labels: Sequence[LabelSet],
    judged: Mapping[Source, Sequence[Judged]],
) -> Comparison | None:
    if request.against is None:
        return None
    if not judged:
        raise InputError("Comparing two runs needs labels: add --labels FILE, or describe with --metadata.")
    other = _against(request, request.against)
    others = {each.source: judge_all(other, each, vocabulary) for each in labels}
    found = compare(_called(answered, other), _called(other, answered), {s: (judged[s], others[s]) for s in judged})
    if not found.attributes:
        raise InputError(
            f"No labelled photo has answers to the same questions in {request.workspace} and in {request.against}. "
            "Describe the same photos with the same recipe and languages in both."
        )
    return found


def _against(request: EvaluationRequest, against: str) -> Answered:
    """The other run: a workspace, or another model of this one."""
    folder = Path(against)
    if is_workspace(folder):
        with read_workspace(folder) as opened:
            return gather(opened, recipe=request.recipe, languages=request.languages)
    with read_workspace(request.workspace) as opened:
        try:
            return gather(opened, recipe=request.recipe, languages=request.languages, model=against)
        except InputError as error:
            raise InputError(f"{against} is no workspace. {error}") from None


def _called(run: Answered, other: Answered) -> str:
    """What tells a run from the other: its model, and its workspace where the models are alike."""
    model = " and ".join(run.models)
    return model if run.models != other.models else f"{model} in {run.workspace}"


def _notes(
    answered: Answered, labels: Sequence[LabelSet], calibrated: Sequence[CalibratedChoice], *, worthless: bool
) -> list[str]:
    notes = [note for each in labels for note in each.notes]
    if not labels:
        notes.append("Nothing says what is true of these photos: give --labels FILE, or describe with --metadata.")
    if labels and (most := max(each.photos for each in labels)) < FEW_LABELLED:
        notes.append(
            f"No more than {most:,} photos are labelled: intervals are wide, and an error of calibration in bins "
            f"of {max(1, most // BINS)} or so is mostly chance."
        )
    if len(answered.models) > 1:
        notes.append(f"Several models answered: {', '.join(answered.models)}. Name one with --model.")
    for each in calibrated:
        name = f"{each.question} ({each.language})"
        if each.undecided:
            notes.append(
                f"{name}: no temperature was kept, for the labels do not decide one (all right, or all wrong)."
            )
        elif each.ece_after >= each.ece_before:
            notes.append(f"{name}: on photos held out the error did not fall; its scores were as good before.")
    if calibrated and worthless:
        notes.append("What was calibrated are the demo model's answers on real cars, which are worth nothing.")
    return notes


def _worst(judged: Sequence[Judged]) -> tuple[WorstPhoto, ...]:
    """The photos with most that is wrong; a contradiction weighs more than what was left unsaid."""
    wrong: dict[str, list[Judged]] = {}
    for each in judged:
        if each.judgement in _WEIGHT:
            wrong.setdefault(each.photo.sha256, []).append(each)
    ranked = sorted(wrong.values(), key=lambda group: -sum(_WEIGHT[each.judgement] for each in group))
    return tuple(
        WorstPhoto(
            photo=group[0].photo.key,
            location=group[0].photo.locations[0],
            wrong=tuple(sorted(group, key=lambda each: -_WEIGHT[each.judgement])),
        )
        for group in ranked[:_WORST]
    )


def _nothing_judged(request: EvaluationRequest, labels: LabelSet, answered: Answered, vocabulary: Vocabulary) -> str:
    named = ", ".join(dict.fromkeys(label.attribute for label in labels.labels))
    asked = dict.fromkeys(said.asked for _, said in answered.each())
    stated = dict.fromkeys(
        attribute.name for each in asked for attribute in vocabulary.stated_by(each.recipe, each.question)
    )
    return (
        f"{request.labels} labels {named}, and the answers of {answered.workspace} state "
        f"{', '.join(stated) or 'no attribute of the vocabulary'}. Label one of these, describe with the recipe "
        "designer, or say with --vocabulary which questions state what."
    )
