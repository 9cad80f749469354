"""Checks of the hub: where models are kept, whether it answers, which of the family are here already, whole or not.

A token is never shown, nor what stands before the @ of a proxy.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from carscribe.doctor.findings import Finding
from carscribe.doctor.machine import Machine, Reached

HUB_TIMEOUT_S = 5.0
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
TRUE = frozenset({"1", "ON", "YES", "TRUE"})


def hub_cache(machine: Machine) -> Path:
    """Where the hub's library keeps models, by the rules of its environment variables."""
    environment = machine.environment
    if own := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser()
    return _hub_home(machine) / "hub"


def check_hub(machine: Machine) -> Iterator[Finding]:
    """Whether the hub answers, and with which settings."""
    environment = machine.environment
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    token = any(environment.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    token = token or machine.read(str(_hub_home(machine) / "token")) is not None
    proxy = next((environment[name] for name in PROXIES if environment.get(name)), None)
    through = f" through the proxy {without_secret(proxy)}" if proxy else ""
    settings = f"{without_secret(endpoint)}{through}, {'with a token' if token else 'without a token'}"
    if (
        environment.get("HF_HUB_OFFLINE", "").upper() in TRUE
        or environment.get("TRANSFORMERS_OFFLINE", "").upper() in TRUE
    ):
        yield Finding(
            topic="Hub",
            status="note",
            what="HF_HUB_OFFLINE is set: only models that are here already can be run.",
            advice="To fetch one: unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE",
        )
        return
    reached = machine.reach(f"{endpoint}/api/models/OpenGVLab/InternVL3-1B-hf", HUB_TIMEOUT_S)
    if reached.status == 200:
        yield Finding(topic="Hub", status="ok", what=f"{settings}: answers")
        return
    said = f"it answers {reached.status}" if reached.status is not None else f"no answer ({_short(reached.error)})"
    yield Finding(
        topic="Hub",
        status="warning",
        what=f"{settings}: {said}. Models that are not here yet cannot be fetched.",
        advice=_advice(reached, proxied=proxy is not None),
    )


def check_cached(machine: Machine) -> Iterator[Finding]:
    """Which checkpoints of the family are on this machine."""
    cache = hub_cache(machine)
    whole: list[str] = []
    broken: list[str] = []
    for folder in sorted(cache.glob("models--OpenGVLab--InternVL3*")):
        name = folder.name.removeprefix("models--").replace("--", "/", 1)
        (whole if is_whole(folder) else broken).append(name)
    for name in broken:
        yield Finding(
            topic="Models on disk",
            status="warning",
            what=f"{name} is not here whole: weights are missing.",
            advice=f"carscribe pull {name} (it goes on where it stopped)",
        )
    if whole:
        yield Finding(topic="Models on disk", status="ok", what=", ".join(whole))
    elif not broken:
        yield Finding(
            topic="Models on disk",
            status="note",
            what="No InternVL3 in the hub's cache yet.",
            advice="carscribe pull OpenGVLab/InternVL3-1B-hf (1B, 2B, 8B, 14B …)",
        )


def is_whole(repository: Path) -> bool:
    """Whether some snapshot of a cached repository has its config and all weights its index names."""
    for snapshot in repository.glob("snapshots/*"):
        index = snapshot / "model.safetensors.index.json"
        try:
            needed = set(json.loads(index.read_text("utf-8"))["weight_map"].values()) if index.exists() else set()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        names = {"config.json", *(needed or {"model.safetensors"})}
        if all((snapshot / name).exists() for name in names):
            return True
    return False


def without_secret(address: str) -> str:
    """An address without user and password.

    >>> without_secret("http://kim:secret@proxy.example:3128"), without_secret("proxy.example:3128")
    ('http://proxy.example:3128', 'proxy.example:3128')
    """
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _hub_home(machine: Machine) -> Path:
    environment = machine.environment
    if own := environment.get("HF_HOME"):
        return Path(own).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else machine.home / ".cache") / "huggingface"


def _advice(reached: Reached, *, proxied: bool) -> str:
    error = reached.error.lower()
    match reached.status:
        case 401 | 403:
            return "export HF_TOKEN=… with a token that may read; or look whether a proxy refuses the hub"
        case 404:
            return "unset HF_ENDPOINT, or set it to a mirror that has OpenGVLab's models"
        case 407:
            return "The proxy wants a name and password: export HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"
        case 429:
            return "Too many requests from this address: wait some minutes, or export HF_TOKEN=…"
        case int():
            return "Try again later, or export HF_ENDPOINT=… to a mirror"
        case None:
            pass
    if "certificate" in error or "ssl" in error:
        return (
            "A proxy that looks into traffic needs its certificate: export SSL_CERT_FILE=/path/to/its/certificates.pem"
        )
    if "resol" in error or "name or service" in error or "getaddrinfo" in error:
        return "This machine finds no names: look at /etc/resolv.conf, or set HTTPS_PROXY when there is a proxy"
    if "timeout" in error or "timed out" in error:
        return "A firewall may swallow the connection: set HTTPS_PROXY, or HF_ENDPOINT to a mirror; or try again"
    if proxied:
        return "Look whether the proxy runs: unset HTTPS_PROXY https_proxy ALL_PROXY all_proxy, if it is not needed"
    return "Look at the network; without one, copy a checkpoint's folder here and give it: --model /its/folder"


def _short(error: str) -> str:
    return " ".join(error.split())[:160] or "nothing said"
