"""Files are complete or not there, whoever writes the same, is killed in the middle or fails; and of two jobs on one
thing the second is refused. The damage is done here."""

import errno
import fcntl
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from patron.files import InUse, lock, whole_file, whole_folder, write_text

FIX = "choose another name"
HOLDER = """
import os, sys, time
from pathlib import Path
from patron.files import lock
with lock(Path(sys.argv[1]), fix="..."):
    worker = os.fork()  # it has every descriptor of its parent
    if worker:
        print(os.getpid(), worker, flush=True)
    time.sleep(60)
"""
HALF = """
import os, signal, sys
from pathlib import Path
from patron.files import whole_file, whole_folder
kind, path = whole_file if sys.argv[1] == "file" else whole_folder, Path(sys.argv[2])
with kind(path) as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def put(folder: Path, text: str) -> None:
    """`folder`, written as a whole, with one file that says `text`."""
    with whole_folder(folder) as partial:
        (partial / "part").write_text(text)


def put_file(file: Path, text: str) -> None:
    write_text(file, text)


def said(path: Path) -> str:
    return (path / "part" if path.is_dir() else path).read_text()


KINDS = pytest.mark.parametrize("write", [put_file, put], ids=["file", "folder"])


# Writing


@KINDS
def test_what_is_written_is_there_and_nothing_else(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    for text in ("one", "another, ü"):
        write(tmp_path / "new" / "out.csv", text)
        assert said(tmp_path / "new" / "out.csv") == text
        assert names(tmp_path / "new") == ["out.csv"]


def test_an_exception_leaves_the_old_one_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    put(tmp_path / "folder", "old")
    for kind, name in ((whole_file, "file"), (whole_folder, "folder"), (whole_file, "never")):
        with suppress(MemoryError), kind(tmp_path / name) as partial:
            (partial / "part" if partial.is_dir() else partial).write_text("new")
            raise MemoryError
    assert names(tmp_path) == ["file", "folder"]
    assert (said(tmp_path / "file"), said(tmp_path / "folder")) == ("old", "old")


def test_two_writers_of_a_file_never_meet(tmp_path: Path) -> None:
    """Each has a name of its own, and what is published is all of the one who was last."""
    file = tmp_path / "scores.csv"
    with whole_file(file) as one, whole_file(file) as other:
        one.write_text("one\n" * 113)
        other.write_text("other\n" * 87)
        with one.open("a") as more:
            more.write("one\n")
    assert file.read_text() == "one\n" * 114
    assert names(tmp_path) == ["scores.csv"]


def test_two_writers_of_a_folder_never_meet(tmp_path: Path) -> None:
    put(tmp_path / "scores", "old")
    with whole_folder(tmp_path / "scores") as one:
        (one / "part").write_text("one")
        put(tmp_path / "scores", "other")
        assert said(tmp_path / "scores") == "other"
    assert names(tmp_path / "scores") == ["part"]
    assert said(tmp_path / "scores") == "one"
    assert names(tmp_path) == ["scores"]


def test_a_folder_that_another_writer_puts_there_in_between_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two renames, that is, when there is no folder for a moment."""
    rename, met = os.rename, []

    def late(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "scores" and not met:
            met.append(source)
            put(tmp_path / "scores", "other")
        rename(source, target)

    put(tmp_path / "scores", "old")
    monkeypatch.setattr(os, "rename", late)
    put(tmp_path / "scores", "one")
    assert met
    assert said(tmp_path / "scores") == "one"
    assert names(tmp_path) == ["scores"]


def test_old_scores_are_there_until_the_new_ones_are(tmp_path: Path) -> None:
    put(tmp_path / "scores", "old")
    with whole_folder(tmp_path / "scores") as partial:
        (partial / "part").write_text("new")
        assert said(tmp_path / "scores") == "old"
    assert said(tmp_path / "scores") == "new"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_the_old_one_and_the_next_one_tidies_up(kind: str, tmp_path: Path) -> None:
    write = {"file": put_file, "folder": put}[kind]
    write(tmp_path / "out", "old")
    killed = subprocess.run([sys.executable, "-c", HALF, kind, str(tmp_path / "out")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert said(tmp_path / "out") == "old"
    left = [name for name in names(tmp_path) if name != "out"]
    assert [name.rsplit(".", 1)[1] for name in left] == ["partial"]
    write(tmp_path / "out", "new")
    assert (names(tmp_path), said(tmp_path / "out")) == (["out"], "new")


def test_what_others_are_writing_is_left_alone(tmp_path: Path) -> None:
    """By a living process, by another machine, and to a name that begins alike."""
    host, dead = socket.gethostname().replace(".", "-"), _dead()
    kept = [f".out.{host}.{os.getppid()}.00000000.partial", f".out.elsewhere.{dead}.00000000.partial"]
    kept += [f".out.csv.{host}.{dead}.00000000.partial", f".out.{host}.csv.{host}.{dead}.00000000.partial"]
    for name in (*kept, f".out.{host}.{dead}.00000000.partial"):
        (tmp_path / name).touch()
    write_text(tmp_path / "out", "new")
    assert names(tmp_path) == sorted([*kept, "out"])


def test_a_folder_whose_writer_died_between_the_two_renames_comes_back(tmp_path: Path) -> None:
    host = socket.gethostname().replace(".", "-")
    put(tmp_path / "scores", "old")
    (tmp_path / "scores").rename(tmp_path / f".scores.{host}.{_dead()}.00000000.replaced")
    with suppress(KeyboardInterrupt), whole_folder(tmp_path / "scores"):
        assert said(tmp_path / "scores") == "old"
        raise KeyboardInterrupt
    assert said(tmp_path / "scores") == "old"
    assert names(tmp_path) == ["scores"]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the contents, then the rename, then the folder that holds the name."""
    seen: list[str] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def flushed(descriptor: int) -> None:
        seen.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def moved(move: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        return lambda source, target: (seen.append("rename"), move(source, target))[1]

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", moved(replace))
    write_text(tmp_path / "out", "x")
    assert [re.sub(r"^\.out\..*", "partial", name) for name in seen] == ["partial", "rename", tmp_path.name]
    seen.clear()
    monkeypatch.setattr(os, "rename", moved(rename))
    put(tmp_path / "scores", "x")
    assert [re.sub(r"^\.scores\..*", "partial", name) for name in seen if name != "rename"] == [
        "part", "partial", tmp_path.name,
    ]  # fmt: skip
    assert seen[-2:] == ["rename", tmp_path.name]


@KINDS
def test_others_may_read_as_the_umask_says(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "out", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o666 == 0o640


@KINDS
def test_a_link_stays_one_and_what_it_points_at_is_written(write: Callable[[Path, str], None], tmp_path: Path) -> None:
    write(tmp_path / "disk" / "real", "old")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    write(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink()
    assert said(tmp_path / "disk" / "real") == "new"
    assert names(tmp_path / "disk") == ["real"]


def _dead() -> int:
    """The number of a process that is no more."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


# The lock


@contextmanager
def holder(path: Path) -> Iterator[tuple[int, int]]:
    """Another process holds the lock of `path` and has forked a worker: the numbers of the two."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid, worker = map(int, process.stdout.readline().split())
    try:
        yield pid, worker
    finally:
        for one in (pid, worker):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.wait()


def test_the_second_job_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as (pid, _):
        host = re.escape(socket.gethostname())
        told = rf"run is in use by process {pid} on {host} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d.*; {FIX}$"
        with pytest.raises(InUse, match=told), lock(tmp_path / "run", fix=FIX):
            pass
        with lock(tmp_path / "another run", fix=FIX):
            pass


def test_a_killed_holder_with_living_workers_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path / "run") as (pid, worker):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.kill(worker, 0)  # it lives, and has the file open
        with lock(tmp_path / "run", fix=FIX):
            pass


def test_within_a_process_there_is_one_holder_too(tmp_path: Path) -> None:
    with lock(tmp_path / "run", fix=FIX):
        with pytest.raises(InUse, match=f"in use by this process already; {FIX}"), lock(tmp_path / "run", fix=FIX):
            pass
        assert _can_lock(tmp_path / "run") is False  # the refusal has not ended the lock
    with lock(tmp_path / "run", fix=FIX):
        pass
    assert _can_lock(tmp_path / "run") is True
    assert names(tmp_path) == []


def test_a_lock_file_that_was_removed_in_between_locks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened while another job had it, and taken when that job was done and had removed it."""
    lockf, file, taken = fcntl.lockf, tmp_path / ".run.lock", []

    def late(descriptor: int, flags: int) -> None:
        if not taken:
            file.unlink()
        taken.append(descriptor)
        lockf(descriptor, flags)

    monkeypatch.setattr(fcntl, "lockf", late)
    with lock(tmp_path / "run", fix=FIX):
        assert len(taken) == 2
        assert _can_lock(tmp_path / "run") is False
        assert f"process {os.getpid()} " in file.read_text()


def test_a_forked_process_does_not_hold_what_its_parent_holds(tmp_path: Path) -> None:
    with lock(tmp_path / "run", fix=FIX):
        child = os.fork()
        if not child:
            try:
                with lock(tmp_path / "run", fix=FIX):
                    os._exit(1)
            except InUse as error:
                os._exit(0 if f"process {os.getppid()} " in str(error) else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_system_without_locks_or_flushing_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As object stores are that were mounted as folders."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    with lock(tmp_path / "run", fix=FIX):
        write_text(tmp_path / "run", "x")
    assert said(tmp_path / "run") == "x"
    assert f"the file system of {tmp_path / 'run'} knows no locks" in caplog.text
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "a broken disk")))
    with pytest.raises(OSError, match="a broken disk"):
        write_text(tmp_path / "run", "y")
    assert said(tmp_path / "run") == "x"


def test_a_failed_job_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock(tmp_path / "run", fix=FIX):
        raise RuntimeError
    assert _can_lock(tmp_path / "run") is True


def _can_lock(path: Path) -> bool:
    code = "import sys; from pathlib import Path; from patron.files import lock"
    code += "\nwith lock(Path(sys.argv[1]), fix=''): pass"
    return subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False).returncode == 0
