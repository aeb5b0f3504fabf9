"""What putting a learned activation into a trained network does to it, by names."""

import pytest
import torch

from search_space.activations.scalar_functions import scalar_function
from search_space.build import build
from search_space.catalog.lookup import CATALOG, initial_for
from search_space.search import SearchSpec
from search_space.space.space import make_space
from search_space.spec import ActivationSpec
from tests.search_space.test_sample import make_plan

# The mean distance from the function that is replaced, on inputs from N(0, 1), is below this ...
SMALL = 0.012
REPLACED = ("relu", "silu", "gelu")
# ... but for these, and why: this is what they are off by where they replace ReLU, SiLU and GELU.
FAR = {
    # The switch comes from a sigmoid, so it is never as sharp as SiLU's own, at 1.
    "meta_acon": (0.283, 0.090, 0.166),
    # Have no start but their papers'; the first four are Swish with a switch of 1.
    "swish": (0.193, 0, 0.076),
    "acon_a": (0.193, 0, 0.076),
    "acon_b": (0.193, 0, 0.076),
    "composed": (0.193, 0, 0.076),
    "smooth_maximum": (0.249, 0.057, 0.132),
    "prelu": (0.101, 0.131, 0.114),
    "star_relu": (0.548, 0.396, 0.440),
    "xielu": (0.293, 0.317, 0.269),
    "snake": (0.399, 0.397, 0.398),
    # Look at neighbours or at the whole image too.
    "frelu": (0.013, 0.193, 0.117),
    "acon_frelu": (0.193, 0.013, 0.078),
    "dy_relu_a": (0.098, 0.123, 0.100),
    "dy_relu_b": (0.134, 0.200, 0.167),
    "se_relu": (0.212, 0.214, 0.213),
}
LEARNED = [entry.name for entry in CATALOG.values() if entry.learned]


def distance(name: str, replaced: str) -> float:
    torch.manual_seed(0)
    images = torch.randn(64, 8, 8, 8)
    start = initial_for(CATALOG[name], original=replaced, policy="nearest")
    module = build(ActivationSpec(name, initial=start), channels=8).eval()
    with torch.no_grad():
        return float((module(images) - scalar_function(replaced)(images)).abs().mean())


@pytest.mark.parametrize("name", [name for name in LEARNED if name not in FAR])
@pytest.mark.parametrize("replaced", REPLACED)
def test_a_learned_choice_starts_as_what_it_replaces(name: str, replaced: str) -> None:
    assert distance(name, replaced) < SMALL


@pytest.mark.parametrize("name", FAR)
def test_how_far_off_the_others_start_is_known(name: str) -> None:
    found = [distance(name, replaced) for replaced in REPLACED]
    assert found == pytest.approx(FAR[name], rel=0.1, abs=0.003)
    assert max(found) > SMALL, "it starts near everything, and belongs to the others"


def test_only_where_weights_are_tuned_is_the_nearest_start_taken() -> None:
    starts = {}
    for start in ("scratch", {"weights": "0" * 64}):
        document = {"task": {"name": "t"}, "choices": ["acon_c"], "start": start}
        space = make_space(SearchSpec.model_validate(document), make_plan())
        sites = space.uniforms["acon_c"].sites.values()
        starts["scratch" if start == "scratch" else "weights"] = {s.initial for s in sites}
    assert starts == {"scratch": {"silu"}, "weights": {"relu"}}
