"""A worker whose trials run on a Ray cluster of several nodes, some of which are killed."""

from collections.abc import Iterator

import psutil
import pytest

from tests.support.ray_cluster import Cluster, ray_cluster
from tests.system.gated import Gated
from tests.system.machine import Machine, until

pytestmark = pytest.mark.ray

WORKER = ("--executor", "ray", "--cpus-per-trial", "1", "--address")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as cluster:
        yield cluster


def test_a_trial_that_finds_no_room_waits_for_a_node(machine: Machine, cluster: Cluster) -> None:
    gated = Gated(machine)
    gated.open()
    machine.serve()
    machine.worker(*WORKER, cluster.address, slots=1)
    search = gated.submit()
    until(lambda: "attempt 1 starts" in machine.log("worker-1"))
    assert "runs on node" not in machine.log("worker-1")
    node = cluster.add(cpus=1)
    gated.check(search)
    assert max(trial["attempt"] for trial in machine.trials(search)) == 1
    cluster.kill(node)


def test_trials_of_a_lost_node_go_on_from_their_checkpoints_on_another(
    machine: Machine, cluster: Cluster
) -> None:
    gated = Gated(machine)
    machine.serve()
    nodes = [cluster.add(cpus=1), cluster.add(cpus=1)]
    # Lost nodes are no fault of the worker's: a single trial that fails by its own would end it.
    worker = machine.worker(*WORKER, cluster.address, "--failures", "1")
    search = gated.submit(parallel=2)
    waiting = {trial["id"] for trial in gated.at_gate(search, 2)}
    cluster.kill(nodes[0])
    (lost,) = until(lambda: [t["id"] for t in machine.trials(search) if t["attempt"] == 2])
    assert lost in waiting
    nodes.append(cluster.add(cpus=1))
    gated.open()
    gated.check(search)
    assert gated.attempts(lost) == (1, 2)
    assert gated.attempts((waiting - {lost}).pop()) == (1, 1), "the other node's trial ran on"
    assert worker.poll() is None, "the worker lives on"
    for node in nodes[1:]:
        cluster.kill(node)


def test_a_worker_that_is_killed_leaves_nothing_on_the_nodes(
    machine: Machine, cluster: Cluster
) -> None:
    gated = Gated(machine)
    machine.serve()
    node = cluster.add(cpus=1)
    worker = machine.worker(*WORKER, cluster.address, slots=1)
    search = gated.submit()
    (trial,) = gated.at_gate(search)
    home = str(machine.folder / "worker-1")
    assert trainings(home)
    worker.kill()
    worker.wait()
    until(lambda: not trainings(home))
    machine.worker(*WORKER, cluster.address, slots=1)
    gated.open()
    gated.check(search)
    assert gated.attempts(trial["id"]) == (1, 2)
    cluster.kill(node)


def trainings(home: str) -> list[psutil.Process]:
    """Return the processes that have a file under `home` open: trials with their logs."""
    found = []
    for process in psutil.process_iter():
        try:
            files = process.open_files()
        except psutil.Error:
            continue
        found += [process for file in files if file.path.startswith(home)]
    return found
