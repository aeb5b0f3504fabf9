"""Counts of the trials of searches, grouped by all properties that summaries need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.schemas.states import FINISHED, TrialState
from service.store.models import Search, Trial

STOPPED_EARLY = Trial.stopped_at.is_not(None) | (
    # Rows of version 0.1 and older note the epoch of those alone that ran on. A trial that was
    # stopped because the hours are spent has a reason.
    (Trial.state == TrialState.STOPPED) & Trial.reason.is_(None)
)
"""Whether the pruner stopped a trial, including those that ran on nevertheless."""


@dataclass(frozen=True, slots=True)
class Group:
    """Trials of one search with equal properties; `last_ended` is by the database's clock."""

    state: TrialState
    kind: TrialKind
    is_repeat: bool
    is_replicate: bool
    is_superseded: bool
    stopped_early: bool
    count: int
    last_ended: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """The trials of one search in groups, without inspections."""

    groups: Sequence[Group]

    def count(self, is_counted: Callable[[Group], bool]) -> int:
        return sum(group.count for group in self.groups if is_counted(group))

    @property
    def by_state(self) -> dict[str, int]:
        """Return the number of trials in each state that occurs."""
        found: dict[str, int] = {}
        for group in self.groups:
            found[group.state.value] = found.get(group.state.value, 0) + group.count
        return found

    @property
    def finished(self) -> int:
        """How many trials have ended, without repeats."""
        return self.count(lambda group: group.state in FINISHED and not group.is_repeat)

    @property
    def proposed(self) -> int:
        """How many trials the budget has been spent on."""
        return self.count(lambda group: group.kind == TrialKind.PROPOSED and not group.is_repeat)

    @property
    def completed_proposals(self) -> int:
        """How many different networks were proposed and completed: n of the luck line."""
        return self.count(
            lambda group: (
                group.kind in (TrialKind.PROPOSED, TrialKind.EARLIER)
                and group.state == TrialState.COMPLETED
                and not group.is_repeat
                and not group.is_replicate
            )
        )

    @property
    def last_ended(self) -> float | None:
        """When the last of the trials ended."""
        times = [group.last_ended for group in self.groups if group.last_ended is not None]
        return max(times, default=None)

    def of_kind(self, kind: TrialKind) -> int:
        return self.count(lambda group: group.kind == kind)


def tally(session: Session, search: Search) -> Tally:
    """Return the counts of one search."""
    return tally_each(session, [search])[search.id]


def tally_each(session: Session, searches: Sequence[Search]) -> dict[str, Tally]:
    """Return the counts of each search, by its id, with one statement."""
    is_repeat = Trial.repeat_of.is_not(None)
    is_replicate = Trial.replicate_of.is_not(None)
    # Confirmations that confirmed another winner, before the search was extended.
    is_superseded = (Trial.kind == TrialKind.CONFIRMATION) & (Trial.number < Search.confirm_from)
    alike = (Trial.state, Trial.kind, is_repeat, is_replicate, is_superseded, STOPPED_EARLY)
    rows = session.execute(
        select(Trial.search_id, *alike, func.count(), func.max(Trial.ended_at))
        .join(Search, Search.id == Trial.search_id)
        .where(Trial.search_id.in_([s.id for s in searches]), Trial.number.is_not(None))
        .group_by(Trial.search_id, *alike)
    )
    found: dict[str, list[Group]] = {search.id: [] for search in searches}
    for row in rows:
        found[row[0]].append(Group(*row[1:]))
    return {search_id: Tally(groups) for search_id, groups in found.items()}
