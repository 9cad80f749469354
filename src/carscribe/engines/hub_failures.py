"""What goes wrong between this machine and a hub, told apart: one line each, with what to type next.

Knows exceptions, environment variables and errno; nothing of repositories or how they are fetched.
"""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from carscribe.errors import CheckpointError
from carscribe.plaintext import plain_line

FAMILY_NAMES = "OpenGVLab/InternVL3-{1B,2B,8B,14B,38B,78B}-hf"

OTHERWISE = "Or name the folder of a downloaded checkpoint in its place; describe --model demo needs none."

NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""A full disk, a limit on file sizes, a quota."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked of which hub when it went wrong."""

    name: str
    revision: str | None
    endpoint: str
    cache: Path

    @property
    def hub(self) -> str:
        """The hub as messages name it: by its variable when the user chose it."""
        return f"the hub at HF_ENDPOINT={self.endpoint}" if os.environ.get("HF_ENDPOINT") else "the hub"


@contextmanager
def told_apart(asked: Asked) -> Iterator[None]:
    """Turn each failure of a hub, a network or a disk into a CheckpointError of its own."""
    import httpx

    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ImportError, ValueError) as error:
        raise CheckpointError(explain(error, asked)) from None


def explain(error: Exception, asked: Asked) -> str:
    """One line: what happened, and what to type next."""
    import httpx
    from huggingface_hub import errors as hub_errors

    match error:
        case hub_errors.HFValidationError():
            return f"{asked.name!r} is neither a folder nor a hub id: {_said(error)}"
        case hub_errors.GatedRepoError():
            return (
                f"{asked.name} is gated. Accept its licence on {asked.endpoint}/{asked.name}, then set HF_TOKEN to a "
                "token that may read it."
            )
        case hub_errors.RevisionNotFoundError():
            return f"{asked.name} has no revision {asked.revision!r}. Leave out --revision for the newest."
        case hub_errors.RepositoryNotFoundError():
            return _no_model(asked)
        case hub_errors.OfflineModeIsEnabled():
            return offline(asked)
        case hub_errors.HfHubHTTPError():
            return _status(error, asked)
        case httpx.HTTPError() | httpx.InvalidURL():
            return _network(error, asked)
        case OSError():
            return _disk(error, asked)
        case ImportError():
            return f"{_proxy(asked) or 'The proxy'} needs a library ({_said(error)}). Type: pip install 'httpx[socks]'"
    return f"{_proxy(asked) or 'The proxy'} cannot be used ({_said(error)}). Correct HTTPS_PROXY, or unset it."


def _network(error: Exception, asked: Asked) -> str:
    """What happened on the way to a hub."""
    import httpx

    match error:
        case httpx.ProxyError():
            return f"{_proxy(asked) or 'The proxy'} refuses ({_said(error)}). Correct HTTPS_PROXY, or unset it."
        case httpx.TimeoutException():
            return _unreachable(
                asked,
                "it does not answer in time",
                "Run the same command again: it goes on where it stopped. On a slow line, HF_HUB_DOWNLOAD_TIMEOUT=60.",
            )
        case httpx.ConnectError():
            return _no_connection(error, asked)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return f"HF_ENDPOINT={asked.endpoint} is no address of a hub ({_said(error)}). It begins with https://."
    return (
        f"The connection broke while fetching {asked.name} ({_said(error)}). Run the same command again: it goes on "
        "where it stopped."
    )


def offline(asked: Asked) -> str:
    """What to say when the cache lacks something and HF_HUB_OFFLINE forbids to ask for it."""
    return (
        f"{asked.name} is not whole in {asked.cache} and HF_HUB_OFFLINE is set. Unset it and run the same command "
        f"again, or set HF_HOME to the cache that has it. {OTHERWISE}"
    )


def not_a_hub(asked: Asked, found: str) -> str:
    """What to say when something answers that is no hub, as a hotel's network does."""
    return _unreachable(
        asked, f"{found} answers in its place", "Log in to the network in a browser, and check HF_ENDPOINT."
    )


def _no_model(asked: Asked) -> str:
    hub = asked.hub[0].upper() + asked.hub[1:]
    return f"{hub} has no model {asked.name}, or it is private (then set HF_TOKEN). The family is {FAMILY_NAMES}."


def _unreachable(asked: Asked, reason: str, advice: str) -> str:
    return f"{asked.name} is not on this machine and {asked.hub} cannot be reached: {reason}. {advice} {OTHERWISE}"


def _status(error: Exception, asked: Asked) -> str:
    """A refusal by its HTTP status."""
    response = getattr(error, "response", None)
    status = 0 if response is None else int(response.status_code)
    match status:
        case 401 if _has_token():
            return (
                f"{asked.name}: {asked.hub} does not accept your token (401). Set HF_TOKEN to a new one from "
                f"{asked.endpoint}/settings/tokens, or unset it: {FAMILY_NAMES} need none."
            )
        case 401:
            return f"{asked.name}: {asked.hub} wants a token (401). Set HF_TOKEN to one that may read it."
        case 403:
            return (
                f"{asked.name}: {asked.hub} forbids it (403). Set HF_TOKEN to a token that may read it; a fine-grained "
                "one needs read access to this model."
            )
        case 404:
            return _no_model(asked)
        case 407:
            return (
                f"{_proxy(asked) or 'The proxy'} wants a login (407). Put it into the address: "
                "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
            )
        case 429:
            return f"{asked.name}: {asked.hub} is asked too often (429). Wait some minutes, or set HF_TOKEN."
        case _ if status >= 500:
            return (
                f"{asked.name}: {asked.hub} has trouble of its own ({status}). Run the same command again in some "
                "minutes: it goes on where it stopped."
            )
    return f"{asked.name}: {asked.hub} refuses (HTTP {status}). Check HF_TOKEN and HF_ENDPOINT."


def _no_connection(error: Exception, asked: Asked) -> str:
    proxy = _proxy(asked)
    through = f" through {proxy[0].lower()}{proxy[1:]}" if proxy else ""
    causes = list(_chain(error))
    if found := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        if isinstance(found, ssl.SSLCertVerificationError):
            advice = "If your network replaces certificates, set SSL_CERT_FILE to its own (a .pem file)."
        else:
            advice = "If it speaks no TLS, write http:// instead of https:// in HF_ENDPOINT or HTTPS_PROXY."
        return _unreachable(asked, f"TLS fails{through} ({_said(found)})", advice)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        host = urlsplit(asked.endpoint).hostname
        advice = "Correct the proxy's address." if proxy else "Check the network and HF_ENDPOINT."
        return _unreachable(asked, f"no address is known for {host}{through}", advice)
    advice = "Check that proxy, or unset it." if proxy else "Check the network; behind a proxy, set HTTPS_PROXY."
    return _unreachable(asked, f"no connection{through} ({_said(error)})", advice)


def _disk(error: OSError, asked: Asked) -> str:
    if error.errno in NO_ROOM:
        return (
            f"The disk is full at {asked.cache} ({error.strerror}) while fetching {asked.name}. Free some, then run "
            "the same command again: it goes on where it stopped. Or set HF_HOME to a larger disk."
        )
    if error.filename is None:
        return _unreachable(asked, _said(error), "Check the network.")
    return (
        f"{asked.name} cannot be kept at {error.filename}: {error.strerror}. Set HF_HOME to a folder that can be "
        "written."
    )


def _proxy(asked: Asked) -> str | None:
    """The proxy between here and the hub, by its variable and without its password; None when there is none."""
    parts = urlsplit(asked.endpoint)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    for scheme in (parts.scheme or "https", "all"):
        if address := proxies.get(scheme):
            bare = urlsplit(address)
            return f"The proxy {scheme.upper()}_PROXY={bare.scheme}://{bare.netloc.rpartition('@')[2]}"
    return None


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _said(error: BaseException) -> str:
    """What an error says, on one line."""
    said = plain_line(str(error)) or type(error).__name__
    return said.rstrip(".") if len(said) <= 200 else said[:200] + " …"
