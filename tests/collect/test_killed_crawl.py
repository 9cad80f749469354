"""`kill -9` while a site is crawled, Ctrl-C, and the same command again: nothing is fetched twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from local_site import LocalSite

from car_site import INDEXED, car_name

pytest.importorskip("scrapy")

CARS, AT_ONCE = 60, 4
RETRIED = {"/robots.txt", "/busy/5", "/flaky/7", "/broken/1"}
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of this kind are POSIX's")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command line; ends what still runs."""
    started: list[subprocess.Popen[str]] = []

    def run(local: LocalSite, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "carscribe", "collect", str(local.toml), "--to", str(tmp_path / "cars")]
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def asked(local: LocalSite) -> int:
    return sum(local.site.requests.values())


@POSIX
@pytest.mark.parametrize("parent_alone", [False, True])
def test_killed_and_gone_on_with(
    serve_site: Callable[..., LocalSite],
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    parent_alone: bool,
) -> None:
    """The process that crawls is killed too, or left to notice that its starter is gone."""
    local = serve_site(cars=CARS)
    for kill_at in (60,) if parent_alone else (30, 80):
        process = start(local)
        wait_for(lambda at=kill_at: asked(local) >= at)  # type: ignore[misc]
        crawlers = psutil.Process(process.pid).children(recursive=True)
        assert crawlers
        process.kill()
        if not parent_alone:
            for crawler in crawlers:
                crawler.kill()
        psutil.wait_procs(crawlers, timeout=20)
        assert not any(crawler.is_running() and crawler.status() != psutil.STATUS_ZOMBIE for crawler in crawlers)
    process = start(local, "--json")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    done = json.loads(stdout)
    assert (done["waiting"], done["stopped"]) == (0, None)
    repeated = {path: times for path, times in local.site.requests.items() if times > 1 and path not in RETRIED}
    # Only what was under way when a process was killed, and nothing where it could end that.
    assert sum(repeated.values()) - len(repeated) <= (0 if parent_alone else 2 * AT_ONCE), repeated
    rows = json.loads((tmp_path / "cars" / "cars.json").read_text("utf-8"))
    names = sorted(path.name for path in (tmp_path / "cars" / "images").iterdir())
    assert names == sorted(Path(row["image"]).name for row in rows)
    named = {row["name"] for row in rows} | {other["name"] for row in rows for other in row.get("also_on", [])}
    assert named == {car_name(number) for number in range(1, CARS + 1) if number not in {11, 13}}


@POSIX
def test_killed_it_asks_for_no_sitemap_again(
    serve_site: Callable[..., LocalSite], start: Callable[..., subprocess.Popen[str]]
) -> None:
    local = serve_site(cars=30)
    patterns = "retry_after_s = 0.02\n[sitemap]\ncars = '/car/'"
    local.described(start=f'sitemaps = "{local.base}/robots.txt"', lists="", cars="", retry_after_s=patterns)
    process = start(local)
    wait_for(lambda: asked(local) >= 15)
    crawlers = psutil.Process(process.pid).children(recursive=True)
    for each in (process, *crawlers):
        each.kill()
    psutil.wait_procs(crawlers, timeout=20)
    stdout, stderr = start(local, "--json").communicate(timeout=60)
    done = json.loads(stdout)
    assert (done["waiting"], done["cars"], done["sitemaps"]) == (0, 30, 5), stderr  # a robots.txt is one
    assert [local.site.requests[path] for path in INDEXED] == [1] * len(INDEXED)


@POSIX
def test_interrupted_it_ends_what_is_under_way_and_says_how_to_go_on(
    serve_site: Callable[..., LocalSite], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    local = serve_site(cars=120)
    process = start(local)
    wait_for(lambda: asked(local) >= 60)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Stopping after what is under way" in stderr
    assert f"carscribe collect {local.toml} --to {tmp_path / 'cars'}" in stderr
    assert "Traceback" not in stderr
    assert "Photos" in stdout
    rows = json.loads((tmp_path / "cars" / "cars.json").read_text("utf-8"))
    assert 0 < len(rows) < 120
    process = start(local)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3, stderr
    assert {path for path, times in local.site.requests.items() if times > 1} <= RETRIED
    assert "Next       carscribe describe" in stdout


def test_a_dry_run_of_wrong_rules_names_the_lines(serve_site: Callable[..., LocalSite], tmp_path: Path) -> None:
    local = serve_site()
    local.described(image='image = ".no-gallery img"')
    command = [sys.executable, "-m", "carscribe", "collect", str(local.toml), "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert f'{local.toml}:12: car.image found nothing on 3 pages: ".no-gallery img"' in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_scrapy_it_says_what_to_install(serve_site: Callable[..., LocalSite], tmp_path: Path) -> None:
    script = (
        "import sys\nsys.modules['scrapy'] = None\n"
        f"sys.argv = ['carscribe', 'collect', {str(serve_site().toml)!r}, '--to', 'cars']\n"
        "from carscribe.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'carscribe[collect]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
