"""Wait reasons: why a search does not have all the slots that it could use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind, TrialKind
from service.schemas.searches import WaitReasonCode
from service.schemas.states import ENDING, SearchState, Wanted
from service.store import queue, workers
from service.store.models import Search, Trial


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """A live worker: the code of each task it offers, and how many of its slots are busy.

    Attributes:
        resting: Why it takes no more work; None: it does.
    """

    worker: str
    boot_id: str
    codes: Mapping[str, str | None]
    slots: int
    busy: int
    resting: str | None

    @property
    def free(self) -> int:
        return max(0, self.slots - self.busy)


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a search waits. `waits_for` has ids of workers, or of searches if it is outranked."""

    reason: WaitReasonCode
    explanation: str
    waits_for: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SearchLoad:
    """What a search runs and could run.

    Attributes:
        running: Its running trials, each with its worker's id.
        has_work: Whether it has a trial for a free slot.
        overrun: Which budget of hours is spent, or None.
    """

    running: Sequence[tuple[Trial, str]]
    has_work: bool
    overrun: str | None

    @property
    def workers(self) -> list[str]:
        return sorted({worker for _, worker in self.running})


def worker_loads(session: Session, lease_seconds: float) -> list[WorkerLoad]:
    """Return the load of every live worker."""
    busy = queue.busy(session)
    return [
        WorkerLoad(
            worker=worker.id,
            boot_id=worker.boot_id,
            codes=workers.codes(manifest),
            slots=manifest.slots,
            busy=busy.get(worker.boot_id, 0),
            resting=manifest.resting,
        )
        for worker in workers.alive(session, seconds=2 * lease_seconds)
        for manifest in [workers.manifest_of(worker)]
    ]


def wait_reason(
    session: Session,
    search: Search,
    load: SearchLoad,
    loads: Sequence[WorkerLoad],
    ahead: Sequence[Search],
) -> WaitReason:
    """Return the first reason, in the order in which the scheduler checks.

    Args:
        ahead: The searches before this one in the queue.
    """
    running = len(load.running)
    # A search that is ending or paused hands out nothing, whatever its work or the workers are.
    if search.wanted in ENDING:
        text = f"{running} running trials end, then the search does"
        return WaitReason("ending", text, load.workers)
    if search.state == SearchState.PAUSED:
        return WaitReason("paused", search.reason or "paused", load.workers)
    if not load.has_work:
        return _without_work(load)
    if running >= search.parallel:
        text = f"parallel: {search.parallel} trials of this search run, and no more may at once"
        return WaitReason("parallel", text, load.workers)
    return _for_workers(session, search, loads, ahead)


def _without_work(load: SearchLoad) -> WaitReason:
    running = len(load.running)
    if any(trial.kind == TrialKind.INSPECTION for trial, _ in load.running):
        text = "a worker looks for the sites of the network"
        return WaitReason("inspecting", text, load.workers)
    if load.overrun is not None:
        text = f"{load.overrun}; the last {running} trials run, and nothing more begins"
        return WaitReason("finishing", text, load.workers)
    text = f"the last {running} trials run, nothing else waits"
    return WaitReason("finishing", text, load.workers)


def _for_workers(
    session: Session, search: Search, loads: Sequence[WorkerLoad], ahead: Sequence[Search]
) -> WaitReason:
    """Return which workers could run the search's work, and why none does."""
    task = search.document["task"]["name"]
    offering = [load for load in loads if task in load.codes]
    if not offering:
        return WaitReason("no_worker", f"no living worker offers the task {task!r}")
    accepting = [load for load in offering if load.resting is None]
    if not accepting:
        reasons = sorted({str(load.resting) for load in offering})
        text = f"every worker that offers {task!r} takes no more work: {'; '.join(reasons)}"
        return WaitReason("resting", text, _names(offering))
    same_code = [load for load in accepting if workers.has_its_code(search, load.codes)]
    if not same_code:
        found = ", ".join(sorted({str(load.codes[task]) for load in accepting}))
        text = f"it began with the code {search.pinned['code']!r}, and its workers have {found!r}"
        return WaitReason("other_code", f"{text}; fork it to search with theirs", _names(accepting))
    benches = queue.benches(session, search.id)
    able = [load for load in same_code if load.boot_id not in benches]
    if not able:
        reasons = sorted({benches[load.boot_id].strip().split("\n")[0] for load in same_code})
        text = f"every worker that offers {task!r} failed here: {'; '.join(reasons)}"
        return WaitReason(
            "benched", f"{text}; resuming gives them another chance", _names(same_code)
        )
    if not any(load.free for load in able):
        slots = sum(load.slots for load in able)
        return WaitReason("busy", f"all {slots} slots that could take it are busy", _names(able))
    # Searches ahead that are paused or ending take no slots.
    before = [one.id for one in ahead if one.wanted == Wanted.RUN]
    if before:
        return WaitReason("outranked", "searches before it in the queue are served first", before)
    return WaitReason("next", "the next request of a free slot takes it", _names(able))


def _names(loads: Sequence[WorkerLoad]) -> list[str]:
    return sorted(load.worker for load in loads)


def trial_wait_reason(session: Session, trial: Trial, benches: Mapping[str, str]) -> str:
    """Return why a trial waits: it is new, or its last attempt ended so."""
    last = queue.last_attempt(session, trial.id)
    if last is None:
        return "has not been tried"
    result = last.failure.value if last.failure is not None else str(last.outcome)
    if last.outcome == OutcomeKind.RELEASED:
        result = "released, to go on from its checkpoint"
    text = f"attempt {last.number} on {last.worker_id}: {result}"
    if last.message:
        text += f": {last.message.strip().splitlines()[0]}"
    return text + ("; is tried on another worker" if last.boot_id in benches else "")
