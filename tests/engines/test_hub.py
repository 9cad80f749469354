"""A model is fetched whole or not at all, once, at one commit, and a download goes on where it stopped.

The hub is a server on this machine.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import huggingface_hub
import pytest
from fake_hub import COMMIT, NAME, FakeHub, Refusal, partials, serving

from carscribe.engines.checkpoint import fetch_weights, open_checkpoint, weights_identity
from carscribe.engines.choosing import pull
from carscribe.engines.hub import Hub, Transfer
from carscribe.engines.transfer import Patience
from carscribe.errors import CheckpointError, InputError

WEIGHTS = "model.safetensors"


def in_parts(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same repository with its weights in two parts, so that the index decides what is fetched."""
    whole = files[WEIGHTS]
    parts = {"model-00001-of-00002.safetensors": whole[:999_999], "model-00002-of-00002.safetensors": whole[999_999:]}
    index = {"weight_map": {f"layer.{i}": name for i, name in enumerate(parts)}}
    rest = {name: content for name, content in files.items() if name != WEIGHTS}
    return rest | parts | {"model.safetensors.index.json": json.dumps(index).encode(), "other.safetensors": b"unused"}


def test_opening_fetches_the_small_files_alone_at_the_commit_the_hub_names(served: FakeHub, hub: Hub) -> None:
    served.files |= {"README.md": b"#", "run.py": b"boom()", "sub/x.json": b"{}", "../evil.json": b"{}"}
    checkpoint = open_checkpoint(NAME, hub=hub)
    assert checkpoint.revision == checkpoint.folder.name == COMMIT
    assert weights_identity(checkpoint) == f"hub:{COMMIT}"
    assert not checkpoint.has_weights
    fetched = {path.name for path in checkpoint.folder.iterdir()}
    assert fetched == {name for name in served.files if name.endswith((".json", ".jinja"))} - {
        "sub/x.json",
        "../evil.json",
    }
    assert not served.gets(WEIGHTS)


def test_weights_come_at_the_same_commit_and_are_fetched_once(served: FakeHub, hub: Hub) -> None:
    served.files = in_parts(served.files)
    seen: list[Transfer] = []
    first = pull(NAME, progress=seen.append, hub=hub)
    assert (first.was_here, first.checkpoint.has_weights) == (False, True)
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert [path.name for path in first.checkpoint.weight_files] == names, "nothing that the index does not name"
    assert all((first.checkpoint.folder / name).read_bytes() == served.files[name] for name in names)
    assert seen[-1].done_bytes == seen[-1].total_bytes == first.checkpoint.weight_bytes
    served.asked.clear()
    assert pull(NAME, hub=hub).was_here
    assert len(served.asked) == 1, "only which commit is the newest"


def test_what_was_fetched_is_found_by_huggingface_hub_and_the_other_way_round(served: FakeHub, hub: Hub) -> None:
    ours = pull(NAME, hub=hub).checkpoint.folder
    theirs = huggingface_hub.snapshot_download(NAME, cache_dir=hub.cache, local_files_only=True)
    assert Path(theirs) == ours.resolve()
    other = replace(hub, cache=hub.cache / "other")
    for name in served.files:
        huggingface_hub.hf_hub_download(NAME, name, cache_dir=other.cache, endpoint=hub.endpoint, revision="main")
    served.asked.clear()
    assert pull(NAME, hub=other).was_here
    assert len(served.asked) == 1


def test_a_download_that_broke_off_goes_on_where_it_stopped(served: FakeHub, hub: Hub) -> None:
    served.cut[WEIGHTS] = 100_000
    checkpoint = open_checkpoint(NAME, hub=hub)
    with pytest.raises(CheckpointError, match="goes on where it stopped"):
        fetch_weights(checkpoint, hub=replace(hub, patience=Patience(tries=0)))
    assert not checkpoint.has_weights, "a partial file is never taken for whole"
    (partial,) = partials(hub)
    come = partial.stat().st_size
    assert 0 < come <= 100_000
    assert partial.read_bytes() == served.files[WEIGHTS][:come]
    served.cut.clear()
    served.asked.clear()
    seen: list[Transfer] = []
    assert fetch_weights(checkpoint, seen.append, hub=hub).has_weights
    assert [headers["Range"] for headers in served.gets(WEIGHTS)] == [f"bytes={come}-"]
    assert (checkpoint.folder / WEIGHTS).read_bytes() == served.files[WEIGHTS]
    assert seen[-1].done_bytes == seen[-1].total_bytes == len(served.files[WEIGHTS])
    assert partials(hub) == []


def test_a_connection_that_breaks_again_and_again_is_gone_on_with(served: FakeHub, hub: Hub) -> None:
    served.cut[WEIGHTS] = 700_000
    checkpoint = pull(NAME, hub=hub).checkpoint
    assert (checkpoint.folder / WEIGHTS).read_bytes() == served.files[WEIGHTS]
    assert len(served.gets(WEIGHTS)) > hub.patience.tries + 1, "an attempt that brings something is no fruitless one"


def test_a_server_without_ranges_starts_over_and_the_file_is_right(served: FakeHub, hub: Hub) -> None:
    served.cut[WEIGHTS] = 100_000
    with pytest.raises(CheckpointError):
        pull(NAME, hub=replace(hub, patience=Patience(tries=0)))
    served.cut.clear()
    served.ranges = False
    seen: list[Transfer] = []
    checkpoint = pull(NAME, progress=seen.append, hub=hub).checkpoint
    assert (checkpoint.folder / WEIGHTS).read_bytes() == served.files[WEIGHTS]
    assert seen[-1].done_bytes == seen[-1].total_bytes


def test_an_interrupt_passes_through_and_leaves_what_has_come(served: FakeHub, hub: Hub) -> None:
    served.hold[WEIGHTS] = go_on = Event()
    served.cut[WEIGHTS] = 1000

    def interrupt(transfer: Transfer) -> None:
        if transfer.done_bytes:
            go_on.set()
            raise KeyboardInterrupt

    checkpoint = open_checkpoint(NAME, hub=hub)
    with pytest.raises(KeyboardInterrupt):
        fetch_weights(checkpoint, interrupt, hub=hub)
    assert not checkpoint.has_weights
    (partial,) = partials(hub)
    assert partial.stat().st_size >= 1000
    assert served.files[WEIGHTS].startswith(partial.read_bytes())
    assert fetch_weights(checkpoint, hub=hub).has_weights


def test_two_at_once_fetch_each_file_once(served: FakeHub, hub: Hub) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: pull(NAME, hub=hub), range(2)))
    assert all(pulled.checkpoint.has_weights for pulled in both)
    assert len(served.gets(WEIGHTS)) == 1


def test_weights_that_another_commit_has_are_not_fetched_again(served: FakeHub, hub: Hub) -> None:
    pull(NAME, hub=hub)
    served.commit = COMMIT[::-1]
    served.files["generation_config.json"] += b"\n"
    served.asked.clear()
    checkpoint = pull(NAME, hub=hub).checkpoint
    assert checkpoint.has_weights
    assert checkpoint.revision == COMMIT[::-1]
    assert not served.gets(WEIGHTS)


def test_a_token_goes_to_the_hub_and_not_to_where_it_sends_us(
    served: FakeHub, hub: Hub, repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving(FakeHub(repository)) as storage:
        served.elsewhere = storage.endpoint
        assert pull(NAME, hub=hub).checkpoint.has_weights
        assert {headers["Authorization"] for _, _, headers in served.asked} == {"Bearer hf_secret"}
        assert [headers["Authorization"] for _, _, headers in storage.asked] == [None]


def test_a_mirror_whose_list_tells_no_sizes_is_asked_for_each(served: FakeHub, hub: Hub) -> None:
    served.bare_list = True
    checkpoint = pull(NAME, hub=hub).checkpoint
    assert (checkpoint.folder / WEIGHTS).read_bytes() == served.files[WEIGHTS]


@pytest.mark.parametrize("away", ["offline", "gone"])
@pytest.mark.parametrize("revision", [None, "v1", COMMIT])
def test_without_the_hub_what_is_here_is_used(served: FakeHub, hub: Hub, away: str, revision: str | None) -> None:
    pull(NAME, revision, hub=hub)
    hub = replace(hub, offline=True) if away == "offline" else replace(hub, endpoint="http://127.0.0.1:1")
    pulled = pull(NAME, revision, hub=hub)
    assert (pulled.was_here, pulled.checkpoint.revision) == (True, COMMIT)


def test_without_the_hub_a_model_without_weights_opens_and_says_what_it_lacks(served: FakeHub, hub: Hub) -> None:
    open_checkpoint(NAME, hub=hub)
    offline = replace(hub, offline=True)
    checkpoint = open_checkpoint(NAME, hub=offline)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
        fetch_weights(checkpoint, hub=offline)


def test_half_of_the_small_files_is_not_taken_for_a_model(served: FakeHub, hub: Hub) -> None:
    served.refuse["tokenizer.json"] = Refusal(503)
    with pytest.raises(CheckpointError, match="503"):
        open_checkpoint(NAME, hub=hub)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
        open_checkpoint(NAME, COMMIT, hub=replace(hub, offline=True))
    served.refuse.clear()
    assert open_checkpoint(NAME, hub=hub).reserved


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda files: files | {"config.json": b'{"model_type": "llava"}'}, "not an InternVL"),
        (lambda files: files | {"config.json": b'{"model_type": "internvl_chat"}'}, "-hf behind it"),
        (
            lambda files: {n: c for n, c in files.items() if n != WEIGHTS} | {"model.bin": b"x"},
            "safetensors.*model.bin",
        ),
        (lambda files: {n: c for n, c in in_parts(files).items() if "00002-of" not in n}, "lacks 1 of the 2"),
        (lambda files: {n: c for n, c in files.items() if n != "config.json"}, "no config.json"),
    ],
)
def test_an_unsuitable_model_is_refused_before_its_weights_are_fetched(
    served: FakeHub, hub: Hub, change: Callable[[dict[str, bytes]], dict[str, bytes]], says: str
) -> None:
    served.files = change(served.files)
    with pytest.raises(CheckpointError, match=says):
        pull(NAME, hub=hub)
    assert not served.gets(".safetensors")


def test_what_need_not_be_fetched_is_said(tmp_path: Path) -> None:
    for model in ("demo", str(tmp_path)):
        with pytest.raises(InputError, match="nothing to fetch"):
            pull(model)


def test_the_environment_is_honoured_and_nothing_heavy_is_imported(served: FakeHub, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from carscribe.engines.checkpoint import open_checkpoint, weights_identity\n"
        f"checkpoint = open_checkpoint({NAME!r})\n"
        "print(weights_identity(checkpoint), checkpoint.folder, len(checkpoint.reserved))\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    environment = os.environ | {"HF_ENDPOINT": served.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_me"}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    first, heavy = done.stdout.splitlines()
    assert first.startswith(f"hub:{COMMIT} {tmp_path / 'home' / 'hub'}")
    assert heavy == "[]"
    assert {headers["Authorization"] for _, path, headers in served.asked if NAME in path} == {"Bearer hf_me"}
    served.asked.clear()
    assert run(HF_HUB_OFFLINE="1").stdout == done.stdout
    assert served.asked == []
    assert "HF_HUB_OFFLINE is set" in run(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "empty")).stderr
