"""A hub on this machine, and what it serves."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from fake_hub import FakeHub, repository_files, serving

from carscribe.engines.hub import Hub
from carscribe.engines.transfer import Patience

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return repository_files(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def served(repository: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in (*PROXIES, *map(str.lower, PROXIES), "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()  # it keeps the proxies it was made with
    with serving(FakeHub(dict(repository))) as hub:
        yield hub
    huggingface_hub.close_session()


@pytest.fixture
def hub(served: FakeHub, tmp_path: Path) -> Hub:
    patience = Patience(timeout_s=5, tries=2, wait_s=0.01)
    return Hub(endpoint=served.endpoint, cache=tmp_path / "캐시 hub", patience=patience)
