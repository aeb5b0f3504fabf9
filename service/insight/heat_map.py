"""The heat map: which choice did well at which site."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search import metric_in
from service.insight.figure import Figure, figure, meta
from service.results import ranking
from service.schemas.labels import metric_label
from service.schemas.states import TrialState
from service.store import trials
from service.store.documents import find_space
from service.store.models import Search, Trial

LEVEL = 0.95

Cells = Mapping[tuple[str, str], Sequence[float]]
"""The values of the networks that have a choice at a group of sites, by group and choice."""


def heat_map(session: Session, search: Search) -> Figure:
    """Draw, for each site and choice, the mean value of the completed networks that have it there.

    The `customdata` of a cell is the number of networks and the ends of the 95 % interval of their
    mean (Student's, null for one network). The networks differ at other sites too, so a cell says
    where to look, not what a choice causes.
    """
    space = find_space(search)
    groups = () if space is None else space.groups
    # All sites of a group have the same choice: the first stands for them.
    first = {group.name: group.sites[0].id for group in groups}
    cells = _cells(session, search, first)
    choices = sorted({choice for _, choice in cells})
    rows = [[_cell(cells.get((group, choice), [])) for choice in choices] for group in first]
    metric = metric_in(search.document)
    return figure(
        [
            {
                "type": "heatmap",
                "name": metric_label(metric),
                "x": choices,
                "y": list(first),
                "z": [[cell[0] for cell in row] for row in rows],
                "customdata": [[cell[1:] for cell in row] for row in rows],
                "colorscale": "Cividis",
                "colorbar": {"title": {"text": metric_label(metric)}},
            }
        ],
        x="choice",
        y="site",
        yaxis={"autorange": "reversed", "type": "category"},
        xaxis={"type": "category"},
        **meta(
            original=ranking.original_of(session, search).mean,
            sites={group.name: [site.id for site in group.sites] for group in groups},
        ),
    )


def _cells(session: Session, search: Search, first: Mapping[str, str]) -> Cells:
    rows = session.execute(
        select(Trial.key, Trial.value, Trial.candidate).where(
            Trial.search_id == search.id,
            Trial.state == TrialState.COMPLETED,
            Trial.value.is_not(None),
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
            (Trial.label != trials.ORIGINAL) | Trial.label.is_(None),
        )
    )
    values: defaultdict[str, list[float]] = defaultdict(list)
    candidates: dict[str, Any] = {}
    for key, value, candidate in rows:
        # A network that was trained on several seeds counts once, with their mean.
        values[key].append(value)
        candidates[key] = candidate["sites"]
    cells: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for key, chosen in candidates.items():
        for group, site in first.items():
            cells[group, chosen[site]["name"]].append(mean(values[key]))
    return cells


def _cell(values: Sequence[float]) -> tuple[Any, ...]:
    """Return the mean, the number of values, and both ends of the interval of the mean."""
    if not values:
        return None, 0, None, None
    average = mean(values)
    if len(values) == 1:
        return average, 1, None, None
    # scipy takes long to import, and no other figure needs it.
    from scipy.special import stdtrit

    reach = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * stdev(values) / sqrt(len(values))
    return average, len(values), average - reach, average + reach
