"""The command that estimates what a search costs and what gain it can find."""

from collections.abc import Iterator

from search_space.search import metric_in
from service.cli.common import Json, SearchFile, Token, Url, print_json, print_line, search_source
from service.cli.tables import activations_text
from service.client.client import Client
from service.schemas.labels import difference_text, duration_text
from service.schemas.searches import PreviewAnswer


def preview(file: SearchFile, url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """Estimate the cost of a search, and submit nothing.

    Prints the candidates, the number of trainings, the duration and the smallest gain that the
    confirmation would find.
    """
    with Client(url, token) as client:
        found = client.preview(search_source(file))
    if as_json:
        print_json(found)
        return
    for line in _preview_lines(found):
        print_line(line)


def _preview_lines(found: PreviewAnswer) -> Iterator[str]:
    if found.sites is not None and found.groups is not None:
        size = "infinitely many" if found.size is None else f"{found.size:,}"
        yield f"{len(found.sites)} sites in {len(found.groups)} groups, {size} candidates, such as:"
        for candidate in found.candidates or []:
            yield f"  {activations_text(candidate, found.sites)}"
    trainings = found.trainings
    yield (
        f"at most {trainings.total} trainings: {trainings.baselines} baselines, "
        f"{trainings.proposed} proposed, {trainings.confirmation} to confirm"
    )
    if found.duration is not None:
        yield f"about {duration_text(found.duration.seconds)}: {found.duration.basis}"
    smallest = found.smallest_gain
    if smallest is not None:
        size = f"{smallest.spreads:.2f} standard deviations over seeds"
        if smallest.gain is not None:
            size = difference_text(metric_in(found.document), smallest.gain)
        yield f"smallest gain that the confirmation finds: {size} ({smallest.basis})"
    for warning in found.warnings:
        yield f"note: {warning}"
