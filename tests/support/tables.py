"""Tables for simulated workers with a truth that is known, and a fleet that runs beside a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from search_space.spec import Site, SitePlan, to_data
from workers.simulation.fleet import Fleet
from workers.simulation.table import Table
from workers.simulation.worker import Behaviour

VARIANTS = ["relu", "silu", "gelu", "tanh", "elu", "mish", "softplus", "hardswish"]
SAMPLES = 10_000
TASK = "simulated-invented"


def invented(
    *, gain: float, sites: int = 3, noise: float = 0.005, epochs: int = 6, seed: int = 0
) -> Table:
    """Return a table in which `silu` everywhere is worth `gain`, and all else is noise."""
    rng = np.random.default_rng(seed)
    silu = np.indices((len(VARIANTS),) * sites).reshape(sites, -1) == VARIANTS.index("silu")
    last = 0.8 + gain * silu.mean(axis=0)[:, None] + rng.normal(0, noise, (silu.shape[1], 3))
    rise = 1 - 0.5 ** np.arange(1, epochs + 1)
    return Table(
        validation=np.rint(SAMPLES * last[:, :, None] * rise).astype(np.uint16),
        test=np.rint(SAMPLES * last * rise[-1]).astype(np.uint16),
        about={
            "task": {"name": "invented", "epochs": epochs},
            "variants": [{"name": name} for name in VARIANTS],
            "plan": to_data(SitePlan(tuple(_site(index) for index in range(sites)))),
            "validation_samples": SAMPLES,
            "test_samples": SAMPLES,
        },
    )


@contextmanager
def fleet(
    url: str, table: Table, behaviour: Behaviour | None = None, **options: int
) -> Iterator[Fleet]:
    """Run simulated workers in threads of this process."""
    running = Fleet(url, None, table, behaviour or Behaviour(), **options)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join()


def _site(index: int) -> Site:
    name = f"act{index}"
    return Site(name, rank=2, channels=8, channel_dim=1, original="relu", stage=name, block=name)
