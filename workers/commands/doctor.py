"""The workers' part of `actsearch doctor`: torch, the device, the data sets; a JSON line each."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from search_space.doctor import Health
from search_space.doctor import HealthCheck as Finding
from workers.agent.machine import look_around
from workers.data.registry import DATASETS
from workers.environment import setting
from workers.errors import DataMissing, WorkerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is found as it is found."""
    parser = argparse.ArgumentParser(prog="python -m workers.commands.doctor")
    parser.add_argument("--data-root", type=Path, default=setting("DATA_ROOT"))
    data_root = parser.parse_args(arguments).data_root.expanduser().resolve()
    for finding in (*_device(), *_data(data_root)):
        sys.stdout.write(f"{json.dumps(finding.as_data())}\n")
        sys.stdout.flush()
    return 0


def _device() -> Iterator[Finding]:
    """Load torch, and let each device compute something."""
    try:
        import torch
    except (ImportError, OSError) as error:
        mend = "install it anew: pip install --force-reinstall torch"
        yield Finding("torch", Health.FAIL, f"cannot be loaded: {error}", mend)
        return
    yield Finding("torch", Health.OK, torch.__version__)
    count = torch.cuda.device_count()
    if count == 0:
        yield _without_gpu(look_around().described([]))
    for index in range(count):
        name = torch.cuda.get_device_name(index)
        try:
            x = torch.ones(64, 64, device=f"cuda:{index}", requires_grad=True)
            torch.autograd.grad((x @ x).sum(), x)
            torch.cuda.synchronize(index)
        except RuntimeError as error:
            mend = "look at `nvidia-smi`; this torch may be built for another driver or GPU"
            yield Finding("device", Health.FAIL, f"{name} does not compute: {error}", mend)
        else:
            free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
            text = f"{name}, {free:.1f} of {total:.1f} GiB of memory free"
            yield Finding("device", Health.OK, text)


def _without_gpu(described: str) -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("device", Health.OK, f"CPU: {described}")
    mend = "look at `nvidia-smi`, and install the torch that is built for its driver"
    return Finding(
        "device", Health.WARN, f"torch sees no GPU; trials would run on {described}", mend
    )


def _data(data_root: Path) -> Iterator[Finding]:
    if not data_root.is_dir():
        mend = "name the folder by --data-root or ACTSEARCH_DATA_ROOT; digits needs none"
        yield Finding("data root", Health.WARN, f"there is no folder {data_root}", mend)
    else:
        yield Finding("data root", Health.OK, str(data_root))
    # Decoded anew, not from the cache of a home: the files themselves are looked at.
    with tempfile.TemporaryDirectory(prefix="actsearch-doctor-") as cache:
        for name in DATASETS:
            yield _data_set(name, data_root, Path(cache))


def _data_set(name: str, data_root: Path, cache: Path) -> Finding:
    what = f"data set {name}"
    try:
        images = DATASETS[name].load(data_root, cache)
    except DataMissing as error:
        places = ", ".join(map(str, error.looked_for))
        mend = f"only searches on {name} need it; put it there, or name another --data-root"
        return Finding(what, Health.WARN, f"not found; looked for {places}", mend)
    except (WorkerError, OSError) as error:
        mend = "fetch the file again, and see that this user may read it"
        return Finding(what, Health.FAIL, str(error), mend)
    parts = f"{len(images.train):,} to train, {len(images.validation):,} to validate"
    return Finding(what, Health.OK, f"{parts}, {len(images.test):,} to test")


if __name__ == "__main__":
    sys.exit(main())
