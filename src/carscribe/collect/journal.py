"""What a crawl knows of every address, in one SQLite file: the queue, what was kept, what was refused and why.

It is the queue as well as the record, so that a page's links and cars come into it in the transaction that marks the
page as read: whenever a process is killed, an address either waits or is dealt with, and none is asked for twice but
those that were under way. Scrapy's own JOBDIR keeps its queue and its seen addresses in files that are written at
different times, in part only when a crawl ends in order; a kill leaves them apart.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from w3lib.url import canonicalize_url

from carscribe.collect.reading import FoundCar
from carscribe.collect.schema import VERSION, allow_sitemaps, make
from carscribe.errors import CollectError

AddressRole = Literal["list", "car", "picture", "sitemap"]
State = Literal["waiting", "done", "failed", "refused", "small", "moved"]

FILE_NAME = "collect.sqlite"
MAX_REDIRECTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address of the queue. `depth` counts the links that led to it from a start page, `hops` the redirects.

    Of a sitemap it counts the index files; pages that a sitemap names are as good as start pages. `found_on` is the
    page with the link, or the sitemap.
    """

    id: int
    url: str
    role: AddressRole
    host: str
    depth: int
    hops: int
    found_on: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A picture that is kept: its bytes' SHA-256, its file in `images/`, its size."""

    sha256: str
    file: str
    width_px: int
    height_px: int
    size_bytes: int


class Journal:
    """One crawl's memory. Only one process has it open at a time. `hosts` are those of all addresses."""

    def __init__(self, folder: Path | None) -> None:
        """Open the journal of a folder, or one in memory for None.

        Raises: CollectError when another process has it open, or the file is none of ours or damaged.
        """
        self._path = folder / FILE_NAME if folder else None
        try:
            self._db = sqlite3.connect(self._path or ":memory:", isolation_level=None, timeout=0.5)
            # Exclusive: a second crawl into the same folder is refused, and WAL needs no shared memory, which network
            # mounts lack.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            with self._transaction():
                if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    make(self._db)
                    self.note("version", VERSION)
                elif self.fact("version") == "1":
                    allow_sitemaps(self._db)
                    self.note("version", VERSION)
                version = self.fact("version")
                self.hosts = {str(host) for (host,) in self._db.execute("SELECT DISTINCT host FROM addresses")}
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise CollectError(
                    f"Another carscribe collect is writing to {folder}. Wait for it, or give another folder with --to."
                ) from None
            raise CollectError(f"{self._path} cannot be opened: {error}. Check the folder, or give another.") from error
        except sqlite3.DatabaseError as error:
            raise CollectError(
                f"{self._path} is damaged or no journal of ours: {error}. Give another folder."
            ) from error
        if version != VERSION:
            raise CollectError(f"{self._path} is of another version of Carscribe ({version}). Give another folder.")

    def close(self) -> None:
        """Let others have it."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- facts about the crawl ---

    def fact(self, key: str) -> str | None:
        """What was noted under a key."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def note(self, key: str, value: str) -> None:
        """Note something of the crawl as a whole."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))

    # --- the queue ---

    def begin(self, start: Sequence[str], role: AddressRole) -> None:
        """Note the start pages that are not known yet."""
        with self._transaction():
            for url in start:
                self._add(url, role, depth=0, found_on=None)

    def read_again(self) -> int:
        """Let all pages wait again, what they gave forgotten but for the pictures; how many they are."""
        with self._transaction():
            self._db.execute("DELETE FROM shows")
            self._db.execute("DELETE FROM cars")
            self._db.execute("DELETE FROM rules")
            again = "UPDATE addresses SET state = 'waiting', reason = NULL WHERE role != 'picture' AND state != 'moved'"
            return self._db.execute(again).rowcount

    def retry_failed(self) -> int:
        """Let what failed wait again; how many addresses that is."""
        again = "UPDATE addresses SET state = 'waiting', reason = NULL WHERE state = 'failed'"
        return self._db.execute(again).rowcount

    def waiting(self, host: str, role: AddressRole, count: int) -> list[Address]:
        """The first addresses of a host that wait, in the order they were found."""
        rows = self._db.execute(
            "SELECT id, url, role, host, depth, hops,"
            " (SELECT page.url FROM addresses page WHERE page.id = it.found_on)"
            " FROM addresses it WHERE state = 'waiting' AND host = ? AND role = ? ORDER BY id LIMIT ?",
            (host, role, count),
        )
        keys = ("id", "url", "role", "host", "depth", "hops", "found_on")
        return [Address(**dict(zip(keys, row, strict=True))) for row in rows]

    def role_of(self, address: Address) -> AddressRole:
        """What an address is known as by now: a link to a car may have come since it was taken for a list."""
        row = self._db.execute("SELECT role FROM addresses WHERE id = ?", (address.id,)).fetchone()
        role: AddressRole = row[0]
        return role

    def counts(self) -> dict[tuple[AddressRole, State], int]:
        """How many addresses there are, by role and state."""
        rows = self._db.execute("SELECT role, state, count FROM counts WHERE count > 0")
        return {(role, state): count for role, state, count in rows}

    # --- what came of an address ---

    def page_read(
        self,
        page: Address,
        cars: Sequence[FoundCar],
        links: Sequence[tuple[str, AddressRole]],
        matched: Mapping[str, bool],
        refused: str | None,
    ) -> None:
        """A page was read: it is done, its links wait, its cars are known and their pictures wait.

        Of a page that refuses machines the pictures are noted as refused instead.
        """
        with self._transaction():
            self._settle(page.id, "refused" if refused else "done", f"the page says {refused}" if refused else None)
            for url, role in links:
                self._add(url, role, depth=page.depth + 1, found_on=page.id)
            self._count_rules(matched)
            for car in cars:
                self._add_car(page, car, refused)

    def sitemap_read(
        self,
        sitemap: Address,
        pages: Sequence[tuple[str, AddressRole]],
        sitemaps: Sequence[str],
        matched: Mapping[str, bool],
        state: State = "done",
        reason: str | None = None,
    ) -> None:
        """A sitemap was read: what it names waits, also where it is damaged and not done."""
        with self._transaction():
            self._settle(sitemap.id, state, reason)
            for url in sitemaps:
                self._add(url, "sitemap", depth=sitemap.depth + 1, found_on=sitemap.id)
            for url, role in pages:
                self._add(url, role, depth=0, found_on=sitemap.id)
            self._count_rules(matched)

    def moved(self, address: Address, url: str) -> None:
        """An address sends on to another: that one waits, unless it is known."""
        with self._transaction():
            if address.hops >= MAX_REDIRECTS:
                self._settle(address.id, "failed", f"it sends on more than {MAX_REDIRECTS} times")
                return
            target = self._add(url, address.role, depth=address.depth, found_on=address.id, hops=address.hops + 1)
            last = self._last_of(target)
            if last == address.id:
                self._settle(address.id, "failed", "it sends on in a circle")
                return
            self._settle(address.id, "moved", None)
            self._db.execute("UPDATE addresses SET moved_to = ? WHERE id = ?", (target, address.id))
            self._db.execute("UPDATE shows SET address_id = ? WHERE address_id = ?", (last, address.id))
            if self._state(last) == "failed":
                self._try_others(last, address)

    def failed(self, address: Address, reason: str) -> None:
        """An address gave nothing that can be used. Of a picture the next address is tried where a page has one."""
        with self._transaction():
            self._settle(address.id, "failed", reason)
            self._try_others(address.id, address)

    def refused(self, address: Address, reason: str) -> None:
        """An address must not be used: robots.txt, noai, a page that is no page."""
        with self._transaction():
            self._settle(address.id, "refused", reason)

    def too_small(self, address: Address, reason: str) -> None:
        """A picture is below the size floor."""
        with self._transaction():
            self._settle(address.id, "small", reason)

    def photo_kept(self, address: Address, photo: Photo) -> None:
        """A picture was fetched; its file is in place. Its bytes may be known from another address."""
        with self._transaction():
            self._settle(address.id, "done", None)
            self._db.execute(
                "INSERT OR IGNORE INTO photos VALUES (?, ?, ?, ?, ?)",
                (photo.sha256, photo.file, photo.width_px, photo.height_px, photo.size_bytes),
            )
            self._db.execute("UPDATE addresses SET sha256 = ? WHERE id = ?", (photo.sha256, address.id))

    def photo_of(self, sha256: str) -> Photo | None:
        """The kept picture with these bytes."""
        row = self._db.execute("SELECT * FROM photos WHERE sha256 = ?", (sha256,)).fetchone()
        return row and Photo(sha256=row[0], file=row[1], width_px=row[2], height_px=row[3], size_bytes=row[4])

    def name_for(self, picture: Address) -> str | None:
        """The name of the first car that shows a picture."""
        row = self._db.execute(
            "SELECT cars.name FROM shows JOIN cars ON cars.id = car_id WHERE address_id = ? ORDER BY car_id LIMIT 1",
            (picture.id,),
        ).fetchone()
        return row[0] if row else None

    def withdraw_refused(self) -> list[str]:
        """Give up the photos that a page refuses to machines although another page shows them; their files."""
        with self._transaction():
            rows = self._db.execute(
                "SELECT DISTINCT sha256, file FROM photos JOIN addresses USING (sha256)"
                " JOIN shows ON address_id = addresses.id JOIN cars ON cars.id = car_id WHERE refused IS NOT NULL"
            ).fetchall()
            for sha256, _ in rows:
                self._db.execute(
                    "UPDATE addresses SET state = 'refused', reason = 'a page that shows it says noai or noimageai',"
                    " sha256 = NULL WHERE sha256 = ?",
                    (sha256,),
                )
                self._db.execute("DELETE FROM photos WHERE sha256 = ?", (sha256,))
        return [file for _, file in rows]

    # --- what is told at the end ---

    def shown_photos(self) -> Iterator[sqlite3.Row]:
        """Every kept photo with every car that shows it, in the order cars were found."""
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        yield from cursor.execute(
            "SELECT photos.*, cars.name, cars.kind, cars.licence, cars.extra, page.url AS source,"
            " picture.url AS image_url, picture.fetched_at FROM shows JOIN cars ON cars.id = car_id"
            " JOIN addresses picture ON picture.id = address_id JOIN photos ON photos.sha256 = picture.sha256"
            " JOIN addresses page ON page.id = page_id"
            " ORDER BY page.id, car_id, position"
        )

    def left_out(self) -> Iterator[sqlite3.Row]:
        """Every address that gave nothing, why, and the page it was found on."""
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        yield from cursor.execute(
            "SELECT it.url, it.role, it.state, it.reason, page.url AS found_on FROM addresses it"
            " LEFT JOIN addresses page ON page.id = it.found_on WHERE it.state IN ('failed', 'refused', 'small')"
            " ORDER BY it.id"
        )

    def rules(self) -> dict[str, tuple[int, int]]:
        """Of each rule, on how many pages it was tried and on how many it found something."""
        return {key: (tried, matched) for key, tried, matched in self._db.execute("SELECT * FROM rules")}

    def count_photos(self) -> int:
        """How many photos are kept."""
        return int(self._db.execute("SELECT count(*) FROM photos").fetchone()[0])

    def count_cars(self) -> tuple[int, int, int]:
        """How many cars were found, how many of them have no name, and how many no picture that was kept."""
        cars, nameless = self._db.execute("SELECT count(*), count(*) FILTER (WHERE name IS NULL) FROM cars").fetchone()
        pictured = self._db.execute(
            "SELECT count(DISTINCT car_id) FROM shows JOIN addresses ON addresses.id = address_id WHERE sha256 NOT NULL"
        ).fetchone()[0]
        return int(cars), int(nameless), int(cars - pictured)

    # --- inside a transaction ---

    def _settle(self, id_: int, state: State, reason: str | None) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._db.execute(
            "UPDATE addresses SET state = ?, reason = ?, fetched_at = ? WHERE id = ?", (state, reason, now, id_)
        )

    def _count_rules(self, matched: Mapping[str, bool]) -> None:
        for key, found in matched.items():
            self._db.execute(
                "INSERT INTO rules VALUES (?, 1, ?2) ON CONFLICT (key)"
                " DO UPDATE SET tried = tried + 1, matched = matched + ?2",
                (key, int(found)),
            )

    def _add(self, url: str, role: AddressRole, *, depth: int, found_on: int | None, hops: int = 0) -> int:
        """The id of an address, which waits from now on if it is a new one."""
        key = canonicalize_url(url)
        known = self._db.execute("SELECT id, role, state FROM addresses WHERE key = ?", (key,)).fetchone()
        if known:
            if (known[1], role) == ("list", "car"):
                self._is_a_car(int(known[0]), known[2])
            return int(known[0])
        host = urlsplit(url).netloc.lower()
        self.hosts.add(host)
        added = self._db.execute(
            "INSERT INTO addresses (url, key, role, host, depth, hops, state, found_on)"
            " VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?)",
            (url, key, role, host, depth, hops, found_on),
        )
        return int(added.lastrowid or 0)

    def _is_a_car(self, id_: int, state: State) -> None:
        """A page that was taken for a list turns out to be a car's: one that was read as a list waits again."""
        self._db.execute(
            "UPDATE addresses SET role = 'car', state = ? WHERE id = ?", ("waiting" if state == "done" else state, id_)
        )

    def _add_car(self, page: Address, car: FoundCar, refused: str | None) -> None:
        extra = json.dumps(dict(car.extra), ensure_ascii=False)
        added = self._db.execute(
            "INSERT INTO cars (page_id, name, kind, licence, extra, refused) VALUES (?, ?, ?, ?, ?, ?)",
            (page.id, car.name, car.kind, car.licence, extra, refused),
        )
        for position, (url, *others) in enumerate(car.pictures):
            address = self._last_of(self._add(url, "picture", depth=page.depth + 1, found_on=page.id))
            shown = (added.lastrowid, position, address, json.dumps(others))
            self._db.execute("INSERT INTO shows VALUES (?, ?, ?, ?)", shown)
            if refused:
                self._db.execute(
                    "UPDATE addresses SET state = 'refused', reason = ? WHERE id = ? AND state = 'waiting'",
                    (f"the page says {refused}", address),
                )
            elif self._state(address) == "failed":
                self._try_next(int(added.lastrowid or 0), position, others, page)

    def _try_others(self, failed: int, by: Address) -> None:
        rows = self._db.execute("SELECT car_id, position, others FROM shows WHERE address_id = ?", (failed,)).fetchall()
        for car_id, position, others in rows:
            self._try_next(car_id, position, json.loads(others), by)

    def _try_next(self, car_id: int, position: int, others: list[str], by: Address) -> None:
        """Show the first of the other addresses that has not failed, if there is one."""
        while others:
            url, others = others[0], others[1:]
            address = self._last_of(self._add(url, "picture", depth=by.depth, found_on=by.id))
            self._db.execute(
                "UPDATE shows SET address_id = ?, others = ? WHERE car_id = ? AND position = ?",
                (address, json.dumps(others), car_id, position),
            )
            if self._state(address) != "failed":
                return

    def _state(self, id_: int) -> str:
        return str(self._db.execute("SELECT state FROM addresses WHERE id = ?", (id_,)).fetchone()[0])

    def _last_of(self, id_: int) -> int:
        """The address at the end of the redirects that begin at one. No circle of them is ever noted: see `moved`."""
        while (row := self._db.execute("SELECT moved_to FROM addresses WHERE id = ?", (id_,)).fetchone()) and row[0]:
            id_ = int(row[0])
        return id_
