"""The sheet: what was flagged, with the pictures, as one HTML file. Nothing is loaded from elsewhere."""

from collections.abc import Iterator

from carscribe.check.faults import FAULTS, METADATA_FAULTS, TITLES, FaultKind, limits_json
from carscribe.check.report import CheckedPhoto, Group, Report
from carscribe.pages.pieces import facts, number, page, table, text
from carscribe.plaintext import counted
from carscribe.reading_ahead import read_ahead
from carscribe.thumbnails import thumbnail

MOST_PHOTOS, MOST_GROUPS, MOST_MEMBERS = 60, 60, 8
"""Photos of a fault that are shown, groups, and photos of a group: the sheet of a large set stays a few megabytes."""

_GROUPED: frozenset[FaultKind] = frozenset({"same_bytes", "near_duplicate"})


def render_page(report: Report) -> str:
    """The sheet as HTML. All text that is not the sheet's own is escaped."""
    return page(
        "carscribe.check",
        title=f"{len(report.flagged):,} of {report.read:,} photos are flagged",
        about=_about(report),
        counts=_counts(report),
        sections="".join(_sections(report)),
    )


def _about(report: Report) -> str:
    limits = ", ".join(f"{name} {value:g}" for name, value in limits_json(report.limits).items())
    rows = {
        "Photos": f"{report.read:,} looked at" + (f" of {report.photos:,}: stopped" if report.stopped else ""),
        "Skipped": f"{sum(photo.skip for photo in report.flagged):,} by describe --skip-flagged",
        "Limits": limits,
    }
    return facts(rows)


def _counts(report: Report) -> str:
    counts = report.counts()
    rows = [
        (f'<a href="#{kind}">{text(TITLES[kind])}</a>', "", "", number(counts[kind])) for kind in FAULTS if counts[kind]
    ]
    return table(("fault", "", "", "photos"), rows) if rows else "<p>Nothing is flagged.</p>"


def _sections(report: Report) -> Iterator[str]:
    for kind in FAULTS:
        if kind in _GROUPED:
            yield _groups(report, kind)
        else:
            yield _photos(report, kind)
    yield _names(report)


def _photos(report: Report, kind: FaultKind) -> str:
    """The photos with a fault; of a fault that is measured, the worst first."""
    flagged = [photo for photo in report.flagged if any(fault.kind == kind for fault in photo.faults)]
    if not flagged:
        return ""
    low_is_worse = kind in {"too_small", "dark"}
    flagged.sort(key=lambda photo: _value(photo, kind), reverse=not low_is_worse)
    shown = flagged[:MOST_PHOTOS]
    pictures = read_ahead(shown, lambda photo: thumbnail(photo.location))
    articles = "".join(
        f"<article>{picture}<h3>{text(photo.key)}</h3><p>{text(_says(photo, kind))}</p>{_others(photo, kind)}</article>"
        for photo, picture in zip(shown, pictures, strict=True)
    )
    note = '<p class="soft">Of the metadata, not of the picture: not skipped.</p>' if kind in METADATA_FAULTS else ""
    return f'{_head(kind, len(flagged), len(shown), "photo")}{note}<div class="photos">{articles}</div>'


def _head(kind: FaultKind, count: int, shown: int, what: str) -> str:
    more = f"; {shown:,} are shown, all are in the report" if shown < count else ""
    return f'<h2 id="{kind}">{text(TITLES[kind])} <span class="soft">{counted(count, what)}{more}</span></h2>'


def _value(photo: CheckedPhoto, kind: FaultKind) -> float:
    return next(fault.value or 0.0 for fault in photo.faults if fault.kind == kind)


def _says(photo: CheckedPhoto, kind: FaultKind) -> str:
    return next(fault.says for fault in photo.faults if fault.kind == kind)


def _others(photo: CheckedPhoto, kind: FaultKind) -> str:
    others = ", ".join(TITLES[fault.kind].lower() for fault in photo.faults if fault.kind != kind)
    return f'<p class="soft">also: {text(others)}</p>' if others else ""


def _groups(report: Report, kind: FaultKind) -> str:
    """Groups of photos that are one picture, the one to keep first."""
    groups = [group for group in report.groups if group.why == kind]
    if not groups:
        return ""
    shown = groups[:MOST_GROUPS]
    return _head(kind, len(groups), len(shown), "group") + "".join(map(_group, shown))


def _group(group: Group) -> str:
    members = group.members[:MOST_MEMBERS]
    pictures = read_ahead(members, lambda member: thumbnail(member.location))
    articles = "".join(
        f"<article>{picture}<h3>{text(member.key)}</h3>{'<p>kept</p>' if member.key == group.keep else ''}</article>"
        for member, picture in zip(members, pictures, strict=True)
    )
    more = len(group.members) - len(members)
    note = f'<p class="soft">… and {more:,} more</p>' if more else ""
    return f'<div class="photos group">{articles}</div>{note}'


def _names(report: Report) -> str:
    parts: list[str] = []
    if report.spellings:
        rows = [(text(", ".join(f"{name} ({count:,})" for name, count in each.names)),) for each in report.spellings]
        parts.append(f"<h2>Names of several spellings</h2>{table(('name (photos)',), rows)}")
    if report.unknown_kinds:
        kinds = [(text(kind), "", "", number(count)) for kind, count in report.unknown_kinds.items()]
        parts.append(f"<h2>Kinds that are not known</h2>{table(('kind', '', '', 'photos'), kinds)}")
    if report.conflicts:
        conflicts = [(text(conflict),) for conflict in report.conflicts[:MOST_PHOTOS]]
        parts.append(f"<h2>Rows that contradict each other</h2>{table(('what they say',), conflicts)}")
    return "".join(parts)
