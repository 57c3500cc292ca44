"""What a failed request to the Hub means for a person, and what to type next; and whether trying again can help."""

import errno
import re
from pathlib import Path

RESUME_HINT = "What was fetched is kept: the same command goes on from there"

_TRANSIENT = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 300.0
# Classes of the HTTP client that no second try mends. By name, for huggingface_hub 1 uses httpx and 2 httpx2.
_FINAL = ("ProxyError", "UnsupportedProtocol", "TooManyRedirects", "LocalProtocolError", "InvalidURL")


def explain(error: Exception, repository: str, revision: str, endpoint: str, *, kept: bool = True) -> str:
    """One or two sentences about an exception that huggingface_hub, its HTTP client or the system raised.

    `kept`: something was fetched before it.
    """
    text = _explain(error, repository, revision, endpoint)
    return text if kept else text.removesuffix(f". {RESUME_HINT}")


def _explain(error: Exception, repository: str, revision: str, endpoint: str) -> str:
    name = type(error).__name__
    if name == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set, so nothing is fetched: unset it and run the same command again"
    status = status_of(error)
    if status is not None:
        return _explain_status(status, error, repository, revision, endpoint)
    if name == "ProxyError":
        what = "check HTTPS_PROXY and ALL_PROXY, or unset them"
        return f"the proxy refused or can't be reached ({_line(error)}): {what}. {RESUME_HINT}"
    if _untrusted_certificate(error):
        return (
            f"the certificate of {endpoint} is not trusted: where a company's proxy opens connections, set "
            f"SSL_CERT_FILE to its certificate; check the clock, too. {RESUME_HINT}"
        )
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return explain_disk(error)
    if name in _FINAL:
        return f"{endpoint or 'an empty address'} can't be used ({_line(error)}): check HF_ENDPOINT. {RESUME_HINT}"
    if isinstance(error, ValueError | TypeError | LookupError | AttributeError):
        return f"{endpoint} doesn't answer as the Hub does: check HF_ENDPOINT, or log in to the network you are on"
    from urllib.request import getproxies  # late: only errors need it, and it imports much

    by_proxy = not {"all", endpoint.partition(":")[0]}.isdisjoint(getproxies())
    what = "the network and the proxy" if by_proxy else "the network"
    return f"the Hub at {endpoint} can't be reached ({_line(error)}): check {what}. {RESUME_HINT}"


def explain_disk(error: OSError) -> str:
    """The same for the disk: full, not writable, gone."""
    where = f" {Path(error.filename).parent}" if isinstance(error.filename, str) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: free some space, or put the model elsewhere with --dest or HF_HOME. {RESUME_HINT}"
    if error.errno == errno.EFBIG:
        return (
            "the disk's format holds no file as large as this (FAT32 ends at 4 GB): put the model elsewhere with "
            f"--dest or HF_HOME, or format the disk anew. {RESUME_HINT}"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the folder{where} can't be written: change its permissions, or use --dest or HF_HOME. {RESUME_HINT}"
    return f"reading or writing{where and f' in{where}'} failed: {error.strerror or error}. {RESUME_HINT}"


def status_of(error: Exception) -> int | None:
    """The HTTP status that an exception of huggingface_hub carries."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def error_code(error: Exception) -> str | None:
    """The Hub's own word for what is wrong, as "RevisionNotFound", that an exception of huggingface_hub carries."""
    code = getattr(getattr(error, "response", None), "headers", {}).get("x-error-code")
    return code if isinstance(code, str) else None


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    status = status_of(error)
    if status is not None:
        return status in _TRANSIENT
    return type(error).__name__ not in _FINAL and not _untrusted_certificate(error)


def asked_to_wait(error: Exception) -> float | None:
    """Seconds that the server asks to wait, at most five minutes: Retry-After, or the Hub's RateLimit header.

    Source of the latter: IETF draft-ietf-httpapi-ratelimit-headers-09, for example `"api";r=0;t=55`.
    """
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    limits = [part.strip().partition("=") for part in str(headers.get("ratelimit", "")).split(";")]
    values = [headers.get("retry-after", ""), *(value for name, _, value in limits if name == "t")]
    seconds = [float(value) for value in values if value.isascii() and value.isdigit()]
    return min(max(seconds), _LONGEST_WAIT) if seconds else None


def reason(error: Exception) -> str:
    """A few words on why a request is tried again."""
    status = status_of(error)
    if status == 429:
        return "the Hub asks to wait"
    return f"the Hub answered {status}" if status is not None else "the connection was lost"


def _explain_status(status: int, error: Exception, repository: str, revision: str, endpoint: str) -> str:
    headers = getattr(getattr(error, "response", None), "headers", {})
    code = error_code(error)
    if code == "GatedRepo":
        return (
            f"{repository} needs its publisher's permission: ask for it at {endpoint}/{repository}, "
            "then log in with `hf auth login` or set HF_TOKEN, and run the same command again"
        )
    if code == "RevisionNotFound":
        return f"{repository} has no branch, tag or commit {revision}: leave out what follows the @, or check it"
    if status == 401 and headers.get("x-error-message", "").startswith("Invalid"):
        return "the Hub refuses your token: log in again with `hf auth login`, or set HF_TOKEN, or unset it"
    if status == 401 or code == "RepoNotFound":
        return (
            f"there is no {repository} on the Hub, or it is private: check the name; if it is private, "
            "log in with `hf auth login` or set HF_TOKEN"
        )
    if status == 403:
        return f"the Hub denies you access to {repository}: log in with `hf auth login`, or set HF_TOKEN. {RESUME_HINT}"
    if status == 404:
        return f"{endpoint} no longer has a file of {repository}: run the same command again to get the newest list"
    if status == 429:
        return (
            "the Hub limits requests and asks you to wait: try again in a few minutes; it allows more to those who are "
            f"logged in (`hf auth login` or HF_TOKEN). {RESUME_HINT}"
        )
    if status >= 500:
        return f"the Hub has an internal problem (error {status}): try again later. {RESUME_HINT}"
    return f"the Hub refused with error {status} ({_line(error)}). {RESUME_HINT}"


def _untrusted_certificate(error: BaseException | None) -> bool:
    seen = 0
    while error is not None and seen < 8:
        if type(error).__name__ == "SSLCertVerificationError" or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def _line(error: Exception) -> str:
    """The first line of an exception's text, without a full stop and the system's number."""
    lines = re.sub(r"^\s*\[Errno -?\d+\] ", "", str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
