"""Files and folders that are complete or not there, and a lock that says who works on one.

What is written goes to a name of its own in the same folder, is flushed to the disk, and takes its place by a rename:
nobody reads half of it, whoever else writes the same, and whenever the machine stops. What a killed process has left is
removed by the next one that writes to the same place.
"""

import errno
import fcntl
import glob
import logging
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

log = logging.getLogger("patron")
PARTIAL, REPLACED = "partial", "replaced"
UNKNOWN = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)  # what a file system says of what it does not do


class InUse(ValueError):
    """Another job works on it: says which, on what machine, and since when."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to that becomes `path`, on the disk, unless there is an exception."""
    path = _place(path)
    _sweep(path)
    partial = _beside(path, PARTIAL)
    try:
        yield partial
        _flush(partial)
        os.replace(partial, path)
        _flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path`, on the disk, unless there is an exception; what was there before is then
    gone, and until then as it was."""
    path = _place(path)
    _sweep(path)
    partial = _beside(path, PARTIAL)
    partial.mkdir()
    try:
        yield partial
        for each in (*partial.rglob("*"), partial):
            _flush(each)
        _take_place(partial, path)
        _flush(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `path` in UTF-8, complete or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


_claims: dict[Path, tuple[int, object]] = {}  # lock files with the process that claims them


@contextmanager
def lock(path: Path, *, fix: str) -> Iterator[None]:
    """Only this job works on the file or folder `path`. Raises InUse if another does, with its process, host and start,
    and `fix`, what to do then.

    It is an `lockf` on the hidden file `.<name>.lock` beside it. It ends with the process that took it, even if that
    was killed and has workers that live on, and holds between machines where the file system does; one without locks
    is warned of.
    """
    real = _place(path)
    file = real.with_name(f".{real.name}.lock")
    with _claim(file, f"{path} is in use by this process already; {fix}"):
        descriptor = _locked(file, path, fix=fix)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)  # as long as it is ours
            os.close(descriptor)


@contextmanager
def _claim(file: Path, refusal: str) -> Iterator[None]:
    # Within a process locks do not exclude each other, and to close one descriptor of the file ends them all.
    mine = (os.getpid(), object())
    there = _claims.setdefault(file, mine)
    if there is not mine and there[0] == os.getpid():
        raise InUse(refusal)
    _claims[file] = mine  # a forked process has inherited the claims of its parent, but not the locks
    try:
        yield
    finally:
        del _claims[file]


def _locked(file: Path, path: Path, *, fix: str) -> int:
    # The descriptor that holds the lock, and by it who does.
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _take(descriptor, path, fix=fix)
            if _is(file, descriptor):
                started = datetime.now().astimezone().isoformat(" ", timespec="seconds")
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # of a file that its last holder has removed in between


def _take(descriptor: int, path: Path, *, fix: str) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNKNOWN:
            log.warning("the file system of %s knows no locks; see to it that no other job writes there", path)
            return
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        holder = os.pread(descriptor, 500, 0).decode(errors="replace").strip()
        raise InUse(f"{path} is in use by {holder or 'another process'}; {fix}") from error


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _place(path: Path) -> Path:
    # A link stays one: what it points at is written. The folder is there afterwards.
    real = Path(os.path.realpath(path))
    real.parent.mkdir(parents=True, exist_ok=True)
    return real


def _ours(path: Path) -> str:
    return f".{path.name}.{socket.gethostname().replace('.', '-')}."


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(f"{_ours(path)}{os.getpid()}.{uuid.uuid4().hex[:8]}.{kind}")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNKNOWN:  # some that are mounted over a network flush no folders
            raise
    finally:
        os.close(descriptor)


def _take_place(partial: Path, path: Path) -> None:
    # Folders do not replace each other in one step, and another writer may put its own there between the two.
    while True:
        replaced = _beside(path, REPLACED)
        with suppress(FileNotFoundError):
            os.rename(path, replaced)
        try:
            os.rename(partial, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(FileNotFoundError):
                    os.rename(replaced, path)
                raise
        finally:
            shutil.rmtree(replaced, ignore_errors=True)


def _sweep(path: Path) -> None:
    # What processes of this machine have left that are no more. A folder that one had moved away and not yet replaced
    # comes back.
    for left in path.parent.glob(f"{glob.escape(_ours(path))}*"):
        made = re.fullmatch(rf"(\d+)\.[0-9a-f]{{8}}\.({PARTIAL}|{REPLACED})", left.name.removeprefix(_ours(path)))
        if made is None or _is_alive(int(made[1])):  # one of another name that begins alike, or still at work
            continue
        with suppress(FileNotFoundError):  # another one may sweep too
            if made[2] == REPLACED and not path.exists():
                left.rename(path)
            elif left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True
