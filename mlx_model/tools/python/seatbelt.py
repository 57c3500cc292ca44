"""The sandbox on macOS: a profile for /usr/bin/sandbox-exec, as codex and Claude Code use it. Not run on a Mac so far.

Composed from codex's seatbelt_base_policy.sbpl and seatbelt_platform_defaults.sbpl (Apache-2.0). The last rule that
matches wins; there is no rule for the network, so that IP and Unix sockets are both denied.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_RULES = """\
(version 1)
(deny default)
(allow process-exec)
(allow process-fork)
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
(allow sysctl-read
  (sysctl-name-prefix "hw.") (sysctl-name-prefix "kern.os") (sysctl-name-prefix "machdep.cpu.")
  (sysctl-name "kern.argmax") (sysctl-name "kern.version") (sysctl-name "kern.hostname")
  (sysctl-name "kern.maxfilesperproc") (sysctl-name "kern.usrstack64") (sysctl-name "kern.secure_kernel")
  (sysctl-name "sysctl.proc_cputype") (sysctl-name "vm.loadavg") (sysctl-name "kern.sysv.semmni"))
(allow ipc-posix-sem)
(allow mach-lookup
  (global-name "com.apple.system.opendirectoryd.libinfo") (global-name "com.apple.system.logger")
  (global-name "com.apple.logd") (global-name "com.apple.system.notification_center")
  (global-name "com.apple.bsd.dirhelper"))
(allow file-read* file-test-existence
  (literal "/") (subpath "/usr/lib") (subpath "/usr/share") (subpath "/usr/bin") (subpath "/bin")
  (subpath "/System/Library") (subpath "/Library/Fonts") (subpath "/private/var/db/timezone")
  (subpath "/private/var/select")
  (subpath "/private/var/db/dyld") (subpath "/System/Volumes/Preboot/Cryptexes/OS")
  (literal "/private/etc/localtime") (literal "/dev/null") (literal "/dev/zero")
  (literal "/dev/random") (literal "/dev/urandom"))
(allow file-map-executable (subpath "/usr/lib") (subpath "/System/Library"))
(allow file-read-metadata (literal "/etc") (literal "/tmp") (literal "/var"))
(allow file-write-data (literal "/dev/null"))
(allow file-ioctl (literal "/dev/null") (literal "/dev/urandom"))
"""
_READABLE = """\
(allow file-read* file-test-existence file-map-executable (subpath (param "{0}")))
(allow file-read-metadata (path-ancestors (param "{0}")))
"""
_WRITABLE = """\
(allow file-read* file-test-existence file-write* (subpath (param "{0}")))
(allow file-read-metadata (path-ancestors (param "{0}")))
"""
# Libraries that a Python of Homebrew's, or one that was built beside it, is linked with.
_HOMEBREW = [Path(root, name) for root in ("/opt/homebrew", "/usr/local") for name in ("opt", "Cellar", "lib")]


def command(program: Path, readable: Iterable[Path], folder: Path, scratch: Path) -> list[str]:
    """The start of a command line; the program to confine follows it. Only `folder` and `scratch` can be written."""
    # Rules are compared with real paths: /tmp is /private/tmp.
    reads = [os.path.realpath(path) for path in [*readable, *(path for path in _HOMEBREW if path.exists())]]
    writes = [os.path.realpath(path) for path in (folder, scratch)]
    paths = {f"READ{number}": path for number, path in enumerate(reads)}
    paths |= {f"WRITE{number}": path for number, path in enumerate(writes)}
    words = [word for name, path in paths.items() for word in ("-D", f"{name}={path}")]
    return [str(program), "-p", profile(len(reads), len(writes)), *words]


def profile(reads: int, writes: int) -> str:
    """The profile for so many folders that can be read and written: its parameters READ0..., WRITE0..."""
    rules = [_READABLE.format(f"READ{number}") for number in range(reads)]
    return "".join([_RULES, *rules, *(_WRITABLE.format(f"WRITE{number}") for number in range(writes))])
