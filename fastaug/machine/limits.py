"""Faults of the machine, which no file is blamed for: each is raised as what it is, with the limit and the
remedy. Faults of a file's name or kind are its own."""

from __future__ import annotations

import errno
import os
import resource

# What a path itself is to blame for. All else (no permission, no descriptors, a broken disk or server) says
# nothing of what is in the file.
CONTENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}


def reason_of(error: OSError) -> str:
    """What is wrong with a file, when it is the file.

    Raises:
        OSError: the same with its remedy, when it is the machine.

    Example:
        >>> import errno
        >>> reason_of(OSError(errno.ENOENT, "?"))
        'No such file or directory'
    """
    if error.errno in CONTENT:
        return os.strerror(error.errno)
    raise explained(error) from error


def explained(error: OSError) -> OSError:
    """The error, of the same kind, with the limit that was met and what can be done."""
    number = error.errno or 0
    if _remedy(number) in str(error):
        return error
    text = f"{error.strerror or error}; {_remedy(number)}"
    return OSError(number, text, error.filename) if number else OSError(text)


def with_remedy(error: BaseException) -> BaseException:
    """An error from a thread of ours, with a remedy where it is the machine's fault and one is known."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return explained(error)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        return RuntimeError(
            f"no more threads can be started; the user may have {_shown(most)} processes and threads (ulimit "
            "-u), and a container may allow fewer (pids.max): raise the limit, or take a smaller num_workers"
        )
    if isinstance(error, RuntimeError) and "CUDA error" in str(error) and "out of memory" not in str(error):
        return RuntimeError(
            f"{error}\nThe GPU's context is broken, no file is to blame: start the process again."
        )
    return error


def _remedy(number: int) -> str:
    if number == errno.EMFILE:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"the process may have {_shown(most)} files open (ulimit -n): raise that"
    if number == errno.ENFILE:
        return "the system has no more descriptors (sysctl fs.file-max): raise that"
    if number in (errno.EACCES, errno.EPERM):
        return f"user {os.geteuid()} may not read it: change its permissions, or run as its owner"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or choose another disk"
    if number in (errno.ENOMEM, errno.EAGAIN):
        return "free memory, or take a smaller batch_size or num_workers"
    if number == errno.EROFS:
        return "choose a folder that can be written"
    return "no file is to blame: look at the disk or the server that it lies on, then go on"


def _shown(limit: int) -> str:
    return "any number of" if limit == resource.RLIM_INFINITY else str(limit)
