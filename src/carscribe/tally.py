"""The sums of a run: what was answered, what failed, how fast. Pure, but for the clock."""

from collections import Counter
from collections.abc import Iterable
from time import monotonic

from carscribe.degenerate import CUT_OFF
from carscribe.records import ASKED_AGAIN, FlagCounts, PhotoResult


class Tally:
    """Counts of a run, as its results come. Times are seconds since it was made."""

    def __init__(self) -> None:
        self._started = monotonic()
        self.answered = self.failed = self.answers = self.new_tokens = self.asked_again = 0
        self.marks: Counter[str] = Counter()
        """What is wrong with answers that are none, by the reason."""
        self.flagged = FlagCounts(photos=0, kind=0, unsure=0)
        """Of results that come with flags; of what is on its way into a workspace, the catalogue knows them."""

    @property
    def photos(self) -> int:
        """Photos answered or set aside."""
        return self.answered + self.failed

    def add(self, results: Iterable[PhotoResult]) -> None:
        """Count some more."""
        for result in results:
            self.failed += result.error is not None
            self.answered += result.error is None
            self.answers += len(result.answers)
            remarks = [answer.remark for answer in result.answers if answer.remark]
            self.asked_again += sum(remark != CUT_OFF for remark in remarks)
            self.marks.update(remark for remark in remarks if remark != ASKED_AGAIN)
            why = {flag.why for flag in result.flags}
            self.flagged = FlagCounts(
                photos=self.flagged.photos + bool(why),
                kind=self.flagged.kind + ("kind" in why),
                unsure=self.flagged.unsure + ("unsure" in why),
            )
            self.new_tokens += sum(answer.tokens for answer in result.answers if answer.finish != "choice")

    @property
    def seconds(self) -> float:
        """Since this was made."""
        return monotonic() - self._started

    def figures(self) -> dict[str, object]:
        """The sums, under the names the catalogue keeps them by."""
        return {
            "answered": self.answered,
            "failed": self.failed,
            "answers": self.answers,
            "new_tokens": self.new_tokens,
            "asked_again": self.asked_again,
            "marked": self.marks.total(),
            "seconds": round(self.seconds, 3),
        }
