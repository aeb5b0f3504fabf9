"""The activation config of a search's best candidate, with its provenance."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from search_space.contract import read_candidate, read_plan
from search_space.errors import SearchSpaceError
from search_space.search import metric_in
from search_space.spec import ActivationConfig, Candidate
from service.errors import NotReady
from service.results import ranking, summary
from service.results.confirmation import load
from service.store import trials
from service.store.documents import space_of
from service.store.models import Search, Trial
from service.versions import versions


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best config; None for `trial` where it is the original network's."""

    config: ActivationConfig
    finding: summary.Finding
    trial: Trial | None


def choose(session: Session, search: Search, *, unconfirmed: bool) -> Chosen:
    """Return the confirmed winner; until there is one, the original network.

    Args:
        unconfirmed: Take the best of the search though it has not been confirmed.

    Raises:
        NotReady: If the network has not been inspected, if the search does not fit the network,
            or if nothing has completed.
    """
    if search.plan is None:
        raise NotReady("config", "the network has not been inspected")
    original = _original(search)
    finding = summary.find(load(session, search))
    trial = finding.trial
    if trial is None and unconfirmed:
        best = ranking.best_trial(session, search)
        if best is None:
            raise NotReady("unconfirmed best", "no candidate has completed")
        trial = best.trial
    candidate = original if trial is None else read_candidate(trial.candidate)
    return Chosen(_config(search, finding, trial, candidate), finding, trial)


def _config(
    search: Search, finding: summary.Finding, trial: Trial | None, candidate: Candidate
) -> ActivationConfig:
    assert search.plan is not None
    plan = read_plan(search.plan)
    provenance: dict[str, Any] = {
        "search": search.id,
        "search_name": search.name,
        "sampler": search.pinned["sampler"],
        "pruner": search.pinned["pruner"],
        "versions": versions(),
        "verdict": finding.status,
        "claim": finding.claim,
        "trial": None,
    }
    if trial is not None:
        provenance |= {
            "trial": trial.id,
            "number": trial.number,
            "label": trial.label,
            "seed": trial.seed,
            "metrics": {metric_in(search.document): trial.value, **(trial.test or {})},
        }
    else:
        provenance["label"] = trials.ORIGINAL
    return ActivationConfig(
        candidate=candidate,
        task=search.document["task"],
        plan=plan,
        fingerprint=plan.fingerprint,
        provenance=provenance,
    )


def _original(search: Search) -> Candidate:
    try:
        return space_of(search).original
    except SearchSpaceError as error:
        # The search failed after the inspection: its document does not fit the network.
        raise NotReady("config", f"the search failed: {error}") from None
