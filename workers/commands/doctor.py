"""The workers' part of `actsearch doctor`: torch, the device and the data sets, as JSON lines."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from search_space.doctor import Health, HealthCheck
from workers.agent.machine import machine_resources
from workers.data.registry import DATASETS
from workers.environment import setting
from workers.errors import DataMissing, WorkerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each finding as soon as it is known; return 0."""
    parser = argparse.ArgumentParser(prog="python -m workers.commands.doctor")
    parser.add_argument("--data-root", type=Path, default=setting("DATA_ROOT"))
    data_root = parser.parse_args(arguments).data_root.expanduser().resolve()
    for finding in (*_device(), *_data(data_root)):
        sys.stdout.write(f"{json.dumps(finding.as_data())}\n")
        sys.stdout.flush()
    return 0


def _device() -> Iterator[HealthCheck]:
    """Load torch, and compute something on each device."""
    try:
        import torch
    except (ImportError, OSError) as error:
        fix = "install it again: pip install --force-reinstall torch"
        yield HealthCheck("torch", Health.FAIL, f"cannot be loaded: {error}", fix)
        return
    yield HealthCheck("torch", Health.OK, torch.__version__)
    count = torch.cuda.device_count()
    if count == 0:
        yield _without_gpu(machine_resources().describe([]))
    for index in range(count):
        name = torch.cuda.get_device_name(index)
        try:
            x = torch.ones(64, 64, device=f"cuda:{index}", requires_grad=True)
            torch.autograd.grad((x @ x).sum(), x)
            torch.cuda.synchronize(index)
        except RuntimeError as error:
            fix = "look at `nvidia-smi`; this torch may be built for another driver or GPU"
            yield HealthCheck("device", Health.FAIL, f"{name} does not compute: {error}", fix)
        else:
            free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
            text = f"{name}, {free:.1f} of {total:.1f} GiB of memory free"
            yield HealthCheck("device", Health.OK, text)


def _without_gpu(described: str) -> HealthCheck:
    if shutil.which("nvidia-smi") is None:
        return HealthCheck("device", Health.OK, f"CPU: {described}")
    fix = "look at `nvidia-smi`, and install the torch that is built for its driver"
    return HealthCheck(
        "device", Health.WARN, f"torch sees no GPU; trials would run on {described}", fix
    )


def _data(data_root: Path) -> Iterator[HealthCheck]:
    if not data_root.is_dir():
        fix = "name the folder by --data-root or ACTSEARCH_DATA_ROOT; digits needs none"
        yield HealthCheck("data root", Health.WARN, f"there is no folder {data_root}", fix)
    else:
        yield HealthCheck("data root", Health.OK, str(data_root))
    # With an empty cache, so that the files themselves are read and decoded.
    with tempfile.TemporaryDirectory(prefix="actsearch-doctor-") as cache:
        for name in DATASETS:
            yield _data_set(name, data_root, Path(cache))


def _data_set(name: str, data_root: Path, cache: Path) -> HealthCheck:
    what = f"data set {name}"
    try:
        images = DATASETS[name].load(data_root, cache)
    except DataMissing as error:
        places = ", ".join(map(str, error.looked_for))
        fix = f"only searches on {name} need it; put it there, or name another --data-root"
        return HealthCheck(what, Health.WARN, f"not found; looked for {places}", fix)
    except (WorkerError, OSError) as error:
        fix = "fetch the file again, and see that this user may read it"
        return HealthCheck(what, Health.FAIL, str(error), fix)
    parts = f"{len(images.train):,} to train, {len(images.validation):,} to validate"
    return HealthCheck(what, Health.OK, f"{parts}, {len(images.test):,} to test")


if __name__ == "__main__":
    sys.exit(main())
