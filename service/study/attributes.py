"""The attributes that we give to trials of a study."""

from typing import Any

SEED_BLOCK = "seed_block"
"""Names the seed block of a trial, among its system or its user attributes."""


def block_attributes(seed_block: int | None) -> dict[str, Any]:
    """Return the attributes that name a seed block; none if the trial has a seed of its own."""
    return {} if seed_block is None else {SEED_BLOCK: seed_block}
