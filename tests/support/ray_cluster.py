"""A real Ray cluster of several nodes, all on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_STORE_BYTES = 80_000_000


class Cluster:
    """A head without room for trials, and nodes that come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = str(self._cluster.address)

    def add(self, *, cpus: int, gpus: int = 0) -> Any:
        return self._cluster.add_node(
            num_cpus=cpus, num_gpus=gpus, object_store_memory=_STORE_BYTES
        )

    def kill(self, node: Any) -> None:
        """End a node's processes at once, as a machine that loses power does."""
        self._cluster.remove_node(node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """Start a cluster; skip the test where Ray is not installed."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        cluster = Cluster()
        try:
            yield cluster
        finally:
            cluster.close()
