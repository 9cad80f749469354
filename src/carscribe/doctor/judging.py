"""From what was compared to findings: which differences are ties of numbers, which are defects. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from carscribe.doctor.comparing import ChoiceComparison, TokenComparison
from carscribe.doctor.expected import Comparison
from carscribe.doctor.fidelity import FidelityReport
from carscribe.doctor.findings import Finding

STEP: Mapping[str, float] = {"float32": 1e-3, "bfloat16": 0.125, "float16": 0.016}
"""What rounding alone may move a logit of 16 to 32: one step of the dtype (in float32, sums in another order)."""

DIFFERENCES_TOLD = 4
REPORT_IT = "Please report it, with the page that --html wrote"


def tie_limit(report: FidelityReport) -> float:
    """Up to how many logits a difference counts as a tie: twice what the plain model differs from itself, and a step.

    Twice, since both candidates' logits move, and both ways have their noise.
    """
    return 2 * report.noise + STEP.get(report.dtype, STEP["bfloat16"])


def is_tie(compared: TokenComparison, limit: float) -> bool:
    """Whether an answer that differs does so where its two words were as good as equal."""
    return compared.gap is not None and compared.gap <= limit


def fidelity_findings(report: FidelityReport) -> list[Finding]:
    """What the report comes to."""
    return [
        *checkpoint_findings(report.member, report.facts),
        *_processing(report.processing),
        *_unfinished(report),
        *_tokens(report),
        *_choices(report),
        *_float16(report),
    ]


def checkpoint_findings(member: str | None, facts: Sequence[Comparison]) -> Iterator[Finding]:
    """What the checkpoint's files come to."""
    differing = [fact for fact in facts if fact.agrees is False]
    agreeing = f"{sum(fact.agrees is True for fact in facts)} of {len(facts)}"
    if not differing:
        name = member or "This model"
        what = f"{name}: ids, template and configuration are as expected of an InternVL3 ({agreeing})"
        yield Finding(topic="Checkpoint", status="ok", what=what)
    elif member is None:
        what = f"Not an InternVL3 by its sizes, and free to differ from one; as expected of one in {agreeing}"
        what += f". Otherwise: {_differences(differing)}"
        yield Finding(topic="Checkpoint", status="note", what=what)
    else:
        yield Finding(
            topic="Checkpoint",
            status="warning",
            what=f"{member} by its sizes; as expected of it in {agreeing}. Otherwise: {_differences(differing)}",
            advice="Right for a fine-tune that changed them; if it is none, fetch the checkpoint again",
        )


def _differences(differing: Sequence[Comparison]) -> str:
    """The first few that differ; the page and --json have all."""
    told = "; ".join(f"{fact.what} {fact.found}, not {fact.expected}" for fact in differing[:DIFFERENCES_TOLD])
    more = len(differing) - DIFFERENCES_TOLD
    return f"{told}; and {more} more" if more > 0 else told


def _processing(processing: Sequence[Comparison]) -> Iterator[Finding]:
    differing = [compared for compared in processing if compared.agrees is False]
    skipped = [f"{compared.what} {compared.found}" for compared in processing if compared.agrees is None]
    if differing:
        what = f"A photo or a question is prepared otherwise than by transformers: {_differences(differing)}."
        yield Finding(topic="Preparation", status="problem", what=what, advice=REPORT_IT)
    elif len(skipped) < len(processing):
        equal = ", ".join(compared.what for compared in processing if compared.agrees)
        yield Finding(topic="Preparation", status="ok", what=f"Equal to transformers' own: {equal}")
    if skipped:
        yield Finding(topic="Preparation", status="note", what="; ".join(skipped))


def _unfinished(report: FidelityReport) -> Iterator[Finding]:
    if report.set_aside:
        yield Finding(topic="Photos", status="note", what=f"Set aside: {'; '.join(report.set_aside)}")
    if report.unfinished is None:
        return
    yield Finding(
        topic="Comparison",
        status="warning" if report.photos else "problem",
        what=report.unfinished,
        advice="Free memory, take a smaller model, or try again with fewer tiles",
    )


def _tokens(report: FidelityReport) -> Iterator[Finding]:
    if not report.tokens:
        return
    differing = [compared for compared in report.tokens if compared.first_difference is not None]
    limit = tie_limit(report)
    wrong = [compared for compared in differing if not is_tie(compared, limit)]
    equal = len(report.tokens) - len(differing)
    equal_ones = f"{equal} of {len(report.tokens)} answers in {report.dtype} equal generate's, token for token"
    noise = f"the plain model differs from itself by up to {report.noise:.2g} logits"
    if wrong:
        worst = max(wrong, key=lambda compared: float("inf") if compared.gap is None else compared.gap)
        where = f"{worst.question_id} of {worst.photo}, at token {worst.first_difference}"
        yield Finding(
            topic="Tokens",
            status="problem",
            what=f"{equal_ones}; {len(wrong)} differ by more than the noise of numbers, the worst by {_gap(worst)} "
            f"({where}); {noise}.",
            advice=REPORT_IT,
        )
    elif differing:
        largest = max(compared.gap or 0.0 for compared in differing)
        ties = f"the other {len(differing)} part at a tie, of at most {largest:.2g} logits ({noise})"
        yield Finding(topic="Tokens", status="ok", what=f"{equal_ones}; {ties}")
    else:
        yield Finding(topic="Tokens", status="ok", what=equal_ones)


def _gap(compared: TokenComparison) -> str:
    return "its length" if compared.gap is None else f"{compared.gap:.2g} logits"


def _choices(report: FidelityReport) -> Iterator[Finding]:
    if not report.choices:
        return
    limit = tie_limit(report)
    wrong = [choice for choice in report.choices if not choice_agrees(choice, limit)]
    same = sum(choice.plain_choice == choice.packed_choice for choice in report.choices)
    largest = max(choice.largest_score_difference for choice in report.choices)
    what = f"{same} of {len(report.choices)} choices are the plain pass's; scores differ by at most {largest:.2g}"
    if wrong:
        what += f"; {len(wrong)} by more than numbers' noise, e.g. {wrong[0].question_id} of {wrong[0].photo}."
        yield Finding(topic="Choices", status="problem", what=what, advice=REPORT_IT)
    else:
        yield Finding(topic="Choices", status="ok", what=what)


def choice_agrees(choice: ChoiceComparison, limit: float) -> bool:
    """Whether a choice and its scores are what noise of `limit` logits allows.

    A share p moves by p (1 - p) for each unit its logit moves against the others', which is a quarter at most.
    """
    return choice.gap <= limit and choice.largest_score_difference <= limit / 2 + 1e-3


def _float16(report: FidelityReport) -> Iterator[Finding]:
    match report.float16.finite:
        case True:
            yield Finding(topic="float16", status="ok", what=f"Its output is {report.float16.said}")
        case False:
            yield Finding(
                topic="float16",
                status="problem" if report.dtype == "float16" else "warning",
                what="In float16 this model's output is not finite.",
                advice="--dtype bfloat16, or float32 on a GPU without bfloat16",
            )
        case None:
            yield Finding(topic="float16", status="note", what=f"float16: {report.float16.said}")
