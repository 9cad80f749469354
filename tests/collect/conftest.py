"""A site on this machine, served from a thread, and its description."""

import threading
from collections.abc import Callable, Iterator

import pytest
from local_site import LocalSite

from car_site import Site, serve


@pytest.fixture(scope="session")
def serve_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalSite]]:
    """Serves a new site for each call, until the tests are over."""
    servers = []

    def make(cars: int = 30, slow_s: float = 0.1, busy_s: int = 0, site: Site | None = None) -> LocalSite:
        site = site or Site(cars=cars, slow_s=slow_s, busy_s=busy_s)
        server = serve(site)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        local = LocalSite(site=site, base=base, toml=tmp_path_factory.mktemp("site") / "site.toml")
        local.described()
        return local

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()
