"""What is left in a worker's home, and for how long."""

import os
import time
from pathlib import Path

from workers.agent.presence import is_only_worker, present
from workers.attempt.workspace import remove_stale_files

DAY = 86400


def leave(home: Path, name: str, age: float) -> Path:
    """Leave a file, or a folder where the name ends with a slash."""
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if name.endswith("/") else path.write_bytes(b"left")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_killed_workers_left_of_attempts_is_removed_by_one_that_lives_alone(
    tmp_path: Path,
) -> None:
    old = [leave(tmp_path, name, 3600) for name in ("leases/a.json", "leases/a.safetensors")]
    log, young = leave(tmp_path, "logs/a", 3600), leave(tmp_path, "leases/b.json", 0)
    with present(tmp_path, "me"), present(tmp_path, "other"):
        assert not is_only_worker(tmp_path, "me")
    remove_stale_files(tmp_path, only_worker=False)
    assert all(path.exists() for path in (*old, log, young))

    with present(tmp_path, "me"):
        assert is_only_worker(tmp_path, "me")
    remove_stale_files(tmp_path, only_worker=True)
    assert not any(path.exists() for path in (*old, log))
    assert young.exists()


def test_folders_of_trials_are_kept_for_a_week(tmp_path: Path) -> None:
    used = [leave(tmp_path, name, 6 * DAY) for name in ("trials/a/", "trial-a/")]
    forgotten = [leave(tmp_path, name, 8 * DAY) for name in ("trials/b/", "trial-b/")]
    remove_stale_files(tmp_path, only_worker=False)
    assert all(path.exists() for path in used)
    assert not any(path.exists() for path in forgotten)
