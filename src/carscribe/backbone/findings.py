"""What was looked at when a language model was held against InternVL3's, as records. Pure."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["fine", "work", "impossible"]
Verdict = Literal["as_is", "projector", "cannot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was compared: what BASE has, what the language model has, and what follows.

    `says` is what has to be done (work), why it cannot be (impossible), or a remark (fine).
    """

    topic: str
    base: str
    llm: str
    status: Status
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Tokens per 100 characters of a shipped sample in one language; None for a tokenizer that could not be read."""

    language: str
    base: float | None
    llm: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """How the checkpoint would talk: its template, whose it is, the tokens that come with it, what ends a turn."""

    template: str
    origin: Literal["own", "chatml"]
    tokens: tuple[str, ...]
    end_of_turn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The findings about a language model in BASE's place. `chat` is None where it is not known how it would talk."""

    base: str
    llm: str
    findings: tuple[Finding, ...]
    packing: tuple[Packing, ...]
    chat: Chat | None
    same_family: bool

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings, in one word."""
        if self.chat is None or any(finding.status == "impossible" for finding in self.findings):
            return "cannot"
        return "as_is" if self.same_family else "projector"

    @property
    def line(self) -> str:
        """The verdict in one line."""
        match self.verdict:
            case "cannot":
                reasons = [finding.says for finding in self.findings if finding.status == "impossible"]
                more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
                return f"Cannot: {reasons[0] if reasons else 'it is not known how it would talk'}{more}"
            case "as_is":
                return "Loads as is: a sibling of BASE's language model, whose projector it keeps."
            case "projector":
                return "Needs the projector retrained, then fine-tuning: carscribe finetune --stage projector."
