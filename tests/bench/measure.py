"""What both benchmarks measure with."""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(command: list[str], env: dict[str, str], cwd: Path | None = None, check: bool = True, **as_whom) -> tuple[float, float, float]:
    """Runs a command to its end: seconds, CPU seconds, peak memory in MiB. Unless told otherwise any failure ends the benchmark."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors, cwd=cwd, **as_whom)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - started
        if check and child.returncode != 0:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} ended with {child.returncode}:\n{errors.read().decode(errors='replace')[-2000:]}")
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def put_aside(path: Path) -> None:
    """Takes a directory out of the way without deleting files: ext4 looks for inodes that were deleted within the last
    minute at every new file, which would be measured as the time of whoever restores next. Its blocks are given back."""
    if not path.exists():
        return
    aside = path.parent / "aside"
    aside.mkdir(exist_ok=True)
    place = aside / str(sum(1 for _ in aside.iterdir()))
    path.rename(place)
    for file in place.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(0o600)
            os.truncate(file, 0)
