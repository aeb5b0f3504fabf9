"""`actsearch`, the module that users import."""

from pathlib import Path

import pytest

import actsearch
from search_space.spec import ActivationSpec
from tests.architecture.test_imports import loaded


@pytest.mark.parametrize("name", actsearch.__all__)
def test_each_name_is_loaded_when_it_is_used(name: str) -> None:
    if name == "LightningEpochs":
        pytest.importorskip("lightning")
    assert getattr(actsearch, name).__name__ == name


def test_dir_lists_all_names_and_others_are_refused() -> None:
    assert set(actsearch.__all__) <= set(dir(actsearch))
    with pytest.raises(AttributeError, match="has no attribute 'swap'"):
        actsearch.swap  # noqa: B018


def test_its_import_loads_nothing_else() -> None:
    assert loaded("import actsearch; dir(actsearch)", "search_space", "service", "workers") == []


def test_a_result_is_measured_again_with_these_names_alone(tmp_path: Path) -> None:
    task = {"name": "image-classification", "dataset": "digits", "network": "small-cnn"}
    prepared = actsearch.prepare(task, data_root=tmp_path, cache=tmp_path)
    batch = prepared.train.examples()
    plan = actsearch.find_sites(prepared.network, batch)
    specs = {site.id: ActivationSpec(name="acon_c") for site in plan.sites}
    model = actsearch.apply(prepared.network, specs, batch)
    learned = actsearch.evaluate(model, prepared.validation)
    folded = actsearch.evaluate(actsearch.fold(model, batch), prepared.validation)
    assert 0 < learned["accuracy"] < 1
    assert folded == pytest.approx(learned, rel=1e-3)
