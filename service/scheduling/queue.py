"""What waits, and why: the searches in the order in which the scheduler serves them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind, TrialKind
from service.results import budget, confirmation
from service.schemas.searches import QueuedAnswer, WaitingTrialAnswer
from service.schemas.states import ENDING, SearchState, Wanted
from service.searches.lifecycle import nothing_more_to_propose
from service.store import queue, searches, trials, workers
from service.store.models import Search, Trial

SHOWN_TRIALS = 20

Reason = Literal[
    "next",
    "busy",
    "outranked",
    "parallel",
    "no_worker",
    "resting",
    "other_code",
    "benched",
    "paused",
    "ending",
    "inspecting",
    "finishing",
]


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """A living worker: its tasks with their code, and how many of its slots run something.

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
    """What keeps a search from having all that it wants, and whom it waits for."""

    reason: Reason
    explanation: str
    waits_for: Sequence[str] = ()


def read_queue(
    session: Session, *, start: int, limit: int, lease_seconds: float
) -> list[QueuedAnswer]:
    """Return the searches that have not ended, from place `start` on."""
    crews = _crews(session, lease_seconds)
    in_turn = searches.in_turn(session)
    everyone = [*in_turn, *queue.held_up(session)]
    found = everyone[start : start + limit]
    return [
        _answer(session, search, place, crews, everyone[:place])
        for place, search in enumerate(found, start)
    ]


def _crews(session: Session, lease_seconds: float) -> list[WorkerLoad]:
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


def _answer(
    session: Session,
    search: Search,
    place: int,
    crews: Sequence[WorkerLoad],
    ahead: Sequence[Search],
) -> QueuedAnswer:
    running = queue.running(session, search.id)
    waiting = queue.waiting(session, search.id, limit=SHOWN_TRIALS)
    more = _to_propose(session, search)
    over = _over(session, search, [*waiting, *(trial for trial, _ in running)])
    has_work = over is None and bool(waiting or more)
    why = _why(session, search, crews, ahead, running, has_work=has_work, over=over)
    benches = queue.benches(session, search.id)
    return QueuedAnswer(
        place=place,
        search=search.id,
        name=search.name,
        state=search.state,
        priority=search.priority,
        parallel=search.parallel,
        running=len(running),
        waiting=trials.waiting(session, search.id),
        to_propose=more,
        reason=why.reason,
        explanation=why.explanation,
        waits_for=list(why.waits_for),
        trials=[
            WaitingTrialAnswer(
                id=trial.id,
                number=trial.number,
                kind=trial.kind,
                attempt=trial.attempt,
                explanation=_why_again(session, trial, benches),
            )
            for trial in waiting
        ],
    )


def _to_propose(session: Session, search: Search) -> int:
    if search.plan is None or search.wanted != Wanted.RUN:
        return 0
    if nothing_more_to_propose(session, search) is not None:
        return 0
    if budget.overrun(session, search, reserve=confirmation.reserve(search)) is not None:
        return 0
    return max(0, search.budget - trials.proposed(session, search.id))


def _over(session: Session, search: Search, unfinished: Sequence[Trial]) -> str | None:
    """Return why nothing of the search begins any more, where its hours are spent."""
    confirming = any(trial.kind == TrialKind.CONFIRMATION for trial in unfinished)
    kept = 0.0 if confirming else confirmation.reserve(search)
    return budget.overrun(session, search, reserve=kept)


def _why(
    session: Session,
    search: Search,
    crews: Sequence[WorkerLoad],
    ahead: Sequence[Search],
    running: Sequence[tuple[Trial, str]],
    *,
    has_work: bool,
    over: str | None,
) -> WaitReason:
    """Return the first thing that is in the way, in the order in which the scheduler looks."""
    on = sorted({worker for _, worker in running})
    if search.wanted in ENDING:
        return WaitReason("ending", f"{len(running)} running trials end, then the search does", on)
    if search.state == SearchState.PAUSED:
        return WaitReason("paused", search.reason or "paused", on)
    if not has_work:
        return _nothing_to_give(running, on, over)
    if len(running) >= search.parallel:
        said = f"parallel: {search.parallel} trials of this search run, and no more may at once"
        return WaitReason("parallel", said, on)
    return _whom_for(session, search, crews, ahead)


def _nothing_to_give(
    running: Sequence[tuple[Trial, str]], on: Sequence[str], over: str | None
) -> WaitReason:
    if any(trial.kind == TrialKind.INSPECTION for trial, _ in running):
        return WaitReason("inspecting", "a worker looks for the sites of the network", on)
    if over is not None:
        said = f"{over}; the last {len(running)} trials run, and nothing more begins"
        return WaitReason("finishing", said, on)
    return WaitReason("finishing", f"the last {len(running)} trials run, nothing else waits", on)


def _whom_for(
    session: Session, search: Search, crews: Sequence[WorkerLoad], ahead: Sequence[Search]
) -> WaitReason:
    """Say for which workers a search waits that has work to give."""
    task = search.document["task"]["name"]
    everyone = [crew for crew in crews if task in crew.codes]
    if not everyone:
        return WaitReason("no_worker", f"no living worker offers the task {task!r}")
    awake = [crew for crew in everyone if crew.resting is None]
    if not awake:
        reasons = sorted({str(crew.resting) for crew in everyone})
        said = f"every worker that offers {task!r} takes no more work: {'; '.join(reasons)}"
        return WaitReason("resting", said, _names(everyone))
    offering = [crew for crew in awake if workers.has_its_code(search, crew.codes)]
    if not offering:
        found = ", ".join(sorted({str(crew.codes[task]) for crew in awake}))
        said = f"it began with the code {search.pinned['code']!r}, and its workers have {found!r}"
        return WaitReason("other_code", f"{said}; fork it to search with theirs", _names(awake))
    benches = queue.benches(session, search.id)
    able = [crew for crew in offering if crew.boot_id not in benches]
    if not able:
        reasons = sorted({benches[crew.boot_id].strip().split("\n")[0] for crew in offering})
        said = f"every worker that offers {task!r} failed here: {'; '.join(reasons)}"
        return WaitReason(
            "benched", f"{said}; resuming gives them another chance", _names(offering)
        )
    if not any(crew.free for crew in able):
        slots = sum(crew.slots for crew in able)
        return WaitReason("busy", f"all {slots} slots that could take it are busy", _names(able))
    before = [one.id for one in ahead if one.wanted == Wanted.RUN]
    if before:
        return WaitReason("outranked", "searches before it in the queue are served first", before)
    return WaitReason("next", "the next request of a free slot takes it", _names(able))


def _names(crews: Sequence[WorkerLoad]) -> list[str]:
    return sorted(crew.worker for crew in crews)


def _why_again(session: Session, trial: Trial, benches: Mapping[str, str]) -> str:
    """Say why a trial waits: it is new, or how its last attempt ended."""
    last = queue.last_attempt(session, trial.id)
    if last is None:
        return "has not been tried"
    what = last.failure.value if last.failure is not None else str(last.outcome)
    if last.outcome == OutcomeKind.RELEASED:
        what = "released, to go on from its checkpoint"
    said = f"attempt {last.number} on {last.worker_id}: {what}"
    if last.message:
        said += f": {last.message.strip().splitlines()[0]}"
    return said + ("; is tried on another worker" if last.boot_id in benches else "")
