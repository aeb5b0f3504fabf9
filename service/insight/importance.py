"""How much each site and each hyperparameter matters, and how much that could be chance.

Optuna's PED-ANOVA says how differently the best tenth of the trials chose a parameter. A site's
importance is the sum over the parameters of its choice. The same sum over trials whose values
were shuffled shows what chance makes of it: what does not exceed 95 % of that is no finding.
"""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from sqlalchemy.orm import Session

from search_space.space.space import Space
from service.insight.figure import Figure, figure, note
from service.insight.study import completed, count_completed, make_study
from service.store.documents import space_of
from service.store.models import Search

PERMUTATIONS = 40
LEVEL = 0.95
MIN_TRIALS = 20
"""Below, the best tenth is one trial or two."""

_TRAINING = "training/"


def importance(session: Session, search: Search) -> Figure:
    """Draw the share of each site and hyperparameter beside what chance would show."""
    rows = completed(session, search) if search.plan is not None else []
    facts = {"trials": len(rows), "of": count_completed(session, search), "least": MIN_TRIALS}
    if len(rows) < MIN_TRIALS:
        return _draw({}, {}, {}, facts)
    space = space_of(search)
    study, rng = make_study(search, rows), np.random.default_rng(0)
    values = np.array([row.value for row in rows], dtype=float)
    found = _evaluate(study, values)
    shuffled = [_evaluate(study, rng.permutation(values)) for _ in range(PERMUTATIONS)]
    total = sum(found.values()) or 1.0
    names = [group.name for group in space.groups] + list(space.hyperparameters)
    shares = {name: found.get(name, 0.0) / total for name in names}
    chance = {
        name: float(np.quantile([one.get(name, 0.0) for one in shuffled], LEVEL)) / total
        for name in names
    }
    return _draw(shares, chance, _sites(space), facts | {"permutations": PERMUTATIONS})


def _evaluate(study: optuna.Study, values: "np.ndarray[Any, Any]") -> Mapping[str, float]:
    """Return the importance of each group of sites and of each hyperparameter."""
    # It takes a second to import, for scikit-learn, and is needed here alone.
    from optuna.importance import PedAnovaImportanceEvaluator

    sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
    with warnings.catch_warnings():
        # It warns that lower is better, which the sign sees to, and of rare parameters.
        warnings.simplefilter("ignore")
        found = PedAnovaImportanceEvaluator().evaluate(
            study, target=lambda trial: sign * float(values[trial.number])
        )
    sums: defaultdict[str, float] = defaultdict(float)
    for parameter, value in found.items():
        sums[_owner(parameter)] += value
    return sums


def _owner(parameter: str) -> str:
    """Return the group of sites, or the hyperparameter, that a parameter belongs to."""
    if parameter.startswith(_TRAINING):
        return parameter.removeprefix(_TRAINING)
    return parameter.partition("/")[0]


def _sites(space: Space) -> Mapping[str, Sequence[str]]:
    return {group.name: [site.id for site in group.sites] for group in space.groups}


def _draw(
    shares: Mapping[str, float],
    chance: Mapping[str, float],
    sites: Mapping[str, Sequence[str]],
    facts: Mapping[str, Any],
) -> Figure:
    told = {name: share for name, share in shares.items() if share > chance[name]}
    untold = {name: share for name, share in shares.items() if name not in told}
    return figure(
        [
            _bars("told from chance", told, color="#0b6296"),
            _bars("could be chance", untold, color="#9aa3a8"),
            {
                "type": "scatter",
                "mode": "markers",
                "name": "what chance reaches, 95 %",
                "x": list(chance.values()),
                "y": list(chance),
                "marker": {"symbol": "line-ns-open", "size": 14, "color": "#a84f08"},
            },
        ],
        x="share of the importance",
        y="",
        barmode="overlay",
        yaxis={"categoryorder": "array", "categoryarray": list(reversed(list(shares)))},
        **note(sites=sites, **facts),
    )


def _bars(name: str, shares: Mapping[str, float], *, color: str) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(shares.values()),
        "y": list(shares),
        "marker": {"color": color},
    }
