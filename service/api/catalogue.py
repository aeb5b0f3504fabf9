"""What may be searched."""

from fastapi import APIRouter

from search_space.catalog.lookup import CATALOG
from service.api.deps import reads
from service.schemas.offers import ActivationAnswer

router = APIRouter(tags=["catalogue"], dependencies=[reads])


@router.get("/activations")
def list_activations() -> list[ActivationAnswer]:
    """List the activations of the catalogue."""
    return [ActivationAnswer.model_validate(entry) for entry in CATALOG.values()]
