"""Manual trials: candidates that a user names.

They cost no budget and are never stopped early. Those that lie in the space of the search are
part of the study.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches

from search_space.catalog.lookup import check_fit, get_entry, initial_for, validate
from search_space.contract import TrialKind
from search_space.errors import SearchSpaceError
from search_space.space.space import Space
from search_space.spec import ActivationSpec, Candidate, Site, Training
from service.errors import Fault, Invalid, NotReady, WrongState
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.requests import CandidateByHand
from service.schemas.states import ENDING, LIVE_STATES, SearchState
from service.searches.lifecycle import state_text
from service.store.documents import space_of
from service.store.models import Trial
from service.store.seed_blocks import free_block
from service.trials.study_sync import study_of


def add_manual_trial(unit: UnitOfWork, wanted: CandidateByHand) -> Trial:
    """Add a user's candidate as a waiting trial.

    Raises:
        WrongState: If the search has ended or is ending.
        NotReady: If the network has not been inspected.
        Invalid: If an activation does not exist or does not fit its site.
    """
    search = unit.search
    allowed = (*LIVE_STATES, SearchState.PAUSED)
    if search.state not in allowed or search.wanted in ENDING:
        raise WrongState("add a trial to", state_text(search), [state.value for state in allowed])
    if search.plan is None:
        raise NotReady("site of this search", "its network has not been inspected")
    space = space_of(search)
    candidate = _candidate(wanted, space)
    params = space.params_of(candidate)
    block = free_block(unit.session, search, space.key(candidate))
    optuna_number = None
    if params is not None:
        # In the study from now on, as a trial that runs.
        live = study_of(unit.context, unit.locked_study, search)
        optuna_number = len(live)
        live.add(params, block)
    trial = unit.add_trial(
        space,
        TrialKind.MANUAL,
        candidate,
        seed_block=block,
        params=params,
        optuna_number=optuna_number,
    )
    unit.publish_trial(trial)
    return trial


def _candidate(wanted: CandidateByHand, space: Space) -> Candidate:
    searched = (site for group in space.groups for site in group.sites)
    sites = {site.id: site for site in (*space.fixed, *searched)}
    faults = [
        fault for id, spec in wanted.sites.items() if (fault := _fault(id, spec, sites)) is not None
    ]
    if faults:
        raise Invalid(faults)
    specs = dict(space.original.sites)
    for id, spec in wanted.sites.items():
        start = spec.initial or initial_for(
            get_entry(spec.name), original=sites[id].original, policy=space.initial
        )
        specs[id] = replace(spec, initial=start)
    return Candidate(specs, Training(**wanted.training.model_dump()))


def _fault(id: str, spec: ActivationSpec, sites: Mapping[str, Site]) -> Fault | None:
    field = f"candidate.sites.{id}"
    if id not in sites:
        near = get_close_matches(id, sites, n=3) or list(sites)[:3]
        return Fault(field, f"{id!r} is no site of the network; nearest are {', '.join(near)}", id)
    try:
        validate(spec)
        check_fit(get_entry(spec.name), sites[id])
    except SearchSpaceError as error:
        return Fault(field, str(error), spec.name)
    return None
