"""The Gaussian process, against the same computed the long way."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.study.additive import acquisition, model
from service.study.additive.acquisition import Sample, _ascend, best_candidate, neighbours
from service.study.additive.kernel import Kernel
from service.study.additive.model import (
    Data,
    Fit,
    Posterior,
    Setting,
    _likelihood,
    common_block,
    fit,
)
from service.study.additive.parzen import (
    better_part,
    density_ratio_scores,
    model_scores,
    share_of,
)
from tests.service.study.additive_cases import (
    conditional_space,
    plain_space,
    random_codes,
    random_data,
    random_setting,
)

Floats = NDArray[np.float64]


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(conditional_space())


def test_leaving_one_out_is_what_a_refit_without_it_predicts(kernel: Kernel) -> None:
    data, setting = random_data(kernel.space, 25, blocks=3), random_setting(kernel)
    posterior = Posterior(kernel, data, setting)
    means, variances = posterior.left_out
    full = _covariance_of_values(kernel, data, setting)

    for left in range(len(data)):
        rest = np.delete(np.arange(len(data)), left)
        mean, variance = _predict(full, data.values, rest, left)
        assert means[left] == pytest.approx(mean)
        assert variances[left] == pytest.approx(posterior.scale * variance)


def test_means_and_covariances_are_those_of_the_joint_distribution(kernel: Kernel) -> None:
    data, setting = random_data(kernel.space, 20, blocks=2), random_setting(kernel)
    posterior = Posterior(kernel, data, setting)
    codes = random_codes(kernel.space, 4, seed=5)
    both = np.concatenate([data.codes, codes])
    full = kernel.covariance(both, both, setting.shares)
    full[:20, :20] = _covariance_of_values(kernel, data, setting)
    values = np.concatenate([data.values, np.zeros(4)])

    for place in range(4):
        mean, variance = _predict(full, values, np.arange(20), 20 + place)
        assert posterior.means(codes)[place] == pytest.approx(mean)
        assert np.diag(posterior.covariance(codes))[place] == pytest.approx(
            posterior.scale * variance
        )


def test_the_expectations_of_what_was_observed_take_no_covariance(kernel: Kernel) -> None:
    data, setting = random_data(kernel.space, 20, blocks=3), random_setting(kernel)
    posterior = Posterior(kernel, data, setting)

    np.testing.assert_allclose(posterior.fitted, posterior.means(data.codes))


def test_the_likelihood_is_that_of_the_contrasts(kernel: Kernel) -> None:
    data = random_data(kernel.space, 15, blocks=3)
    parts = kernel.components(data.codes)
    some, others = random_setting(kernel, 1), random_setting(kernel, 2)

    def by_contrasts(setting: Setting) -> float:
        # What is left of the values once their mean is taken away has no unknown mean.
        contrasts = np.linalg.svd(np.ones((1, 15)))[2][1:]
        full = contrasts @ _covariance_of_values(kernel, data, setting) @ contrasts.T
        rest = contrasts @ data.values
        square = rest @ np.linalg.solve(full, rest)
        return float(-0.5 * np.linalg.slogdet(full)[1] - 0.5 * 16 * np.log(square + 1))

    difference = _likelihood(some, parts, data) - _likelihood(others, parts, data)
    assert difference == pytest.approx(by_contrasts(some) - by_contrasts(others))


def test_draws_have_the_mean_and_covariance_of_the_posterior() -> None:
    kernel = Kernel(plain_space(3, "abc"))
    data, setting = random_data(kernel.space, 12, blocks=2), random_setting(kernel)
    posterior = Posterior(kernel, data, setting)
    codes = random_codes(kernel.space, 6, seed=9)
    count = 4000
    draws = np.array(
        [Sample(posterior, np.random.default_rng(n)).values(codes) for n in range(count)]
    )
    # The constant is left out of draws: compare differences from the first.
    contrast = np.hstack([-np.ones((5, 1)), np.eye(5)])
    expected = contrast @ posterior.covariance(codes) @ contrast.T
    errors = np.sqrt(np.diag(expected) / count)

    gaps = (draws @ contrast.T).mean(axis=0) - contrast @ posterior.means(codes)
    assert np.all(np.abs(gaps) < 4.5 * errors)
    found = np.cov((draws @ contrast.T).T)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found / scale, expected / scale, atol=0.1)


def test_a_block_moves_no_estimate() -> None:
    kernel = Kernel(plain_space())
    data, setting = random_data(kernel.space, 24, blocks=2), random_setting(kernel, block=1e6)
    moved = Data(data.codes, data.values + 7.0 * (data.blocks == 1), data.blocks, data.inflation)
    codes = kernel.space.enumerate()[:20]

    before = Posterior(kernel, data, setting).means(codes)
    after = Posterior(kernel, moved, setting).means(codes)
    np.testing.assert_allclose(after - after[0], before - before[0], atol=1e-4)


def test_observations_without_a_block_have_nothing_in_common() -> None:
    blocks = np.array([-1, 0, -1, 0])
    expected = [[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]

    assert common_block(blocks, blocks).tolist() == expected


def test_shares_follow_what_the_values_are_made_of() -> None:
    kernel = Kernel(plain_space(3, "abcde"))
    rng = np.random.default_rng(0)
    codes = random_codes(kernel.space, 120)
    names = kernel.parts

    def share(values: Floats, part: str) -> float:
        found = fit(kernel, Data(codes, values, np.full(120, -1), np.zeros(120)))
        parts = [one.shares[names.index(part)] for one in found.settings]
        return float(np.array(found.probabilities) @ parts)

    main = rng.standard_normal((3, 5))
    pair = 2 * rng.standard_normal((5, 5))
    pair -= pair.mean(axis=0) + pair.mean(axis=1, keepdims=True) - pair.mean()
    additive = main[np.arange(3), codes].sum(axis=1) + 0.1 * rng.standard_normal(120)
    paired = pair[codes[:, 0], codes[:, 1]] + 0.1 * rng.standard_normal(120)

    assert share(additive, "pairs") < 0.1
    assert share(paired, "pairs") > 0.4


def test_the_settings_are_likelier_than_those_of_the_prior(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = random_codes(kernel.space, 60)
    rng = np.random.default_rng(0)
    values = rng.standard_normal(5)[codes[:, 0]] + 0.01 * rng.standard_normal(60)
    data = Data(codes, values, np.full(60, -1), np.zeros(60))
    parts = kernel.components(data.codes)

    def best() -> float:
        return _likelihood(fit(kernel, data).settings[0], parts, data)

    refined = best()
    monkeypatch.setattr(model, "REFINED", 0)
    assert refined > best() + 5


def test_a_fit_to_the_same_data_is_the_same(kernel: Kernel) -> None:
    data = random_data(kernel.space, 30, blocks=2)

    assert fit(kernel, data) == fit(kernel, data)


def test_settings_are_drawn_as_often_as_they_are_likely() -> None:
    some, others = Setting((1.0,), 0.1, 0.0), Setting((0.5,), 0.5, 0.0)
    both = Fit((some, others), (0.75, 0.25))
    rng = np.random.default_rng(0)

    drawn = [both.draw(rng) for _ in range(2000)]
    assert drawn.count(some) / 2000 == pytest.approx(0.75, abs=0.04)


def test_ascent_finds_what_enumeration_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(plain_space(5, "abcd"))
    data = random_data(kernel.space, 30)
    weights = [0.3, 0.2, 0.3, 0.1, 0.0, 0.0]
    posterior = Posterior(kernel, data, Setting(tuple(weights), 0.1, 0.0))
    none = np.empty((0, 5), dtype=np.int64)

    for seed in range(10):
        sample = Sample(posterior, np.random.default_rng(seed))
        listed = best_candidate(sample, data.codes, none, np.random.default_rng(0))
        with monkeypatch.context() as patch:
            patch.setattr(acquisition, "LISTED", 0)
            climbed = best_candidate(sample, data.codes, none, np.random.default_rng(0))
        assert climbed.tolist() == listed.tolist()


def test_no_single_change_improves_where_ascent_ends() -> None:
    kernel = Kernel(plain_space(6, "abcd"))
    data = random_data(kernel.space, 30)
    setting = Setting((0.1, 0.1, 0.1, 0.6, 0.0, 0.0), 0.1, 0.0)
    sample = Sample(Posterior(kernel, data, setting), np.random.default_rng(0))

    for peak in _ascend(sample, random_codes(kernel.space, 16, seed=4)):
        values = sample.values(neighbours(peak, kernel.space.sizes))
        assert values[0] >= values.max() - 1e-9


def test_the_tables_of_a_draw_are_what_its_values_are_made_of() -> None:
    kernel = Kernel(plain_space(4, "abc"))
    data = random_data(kernel.space, 20)
    setting = Setting((0.3, 0.2, 0.1, 0.3, 0.0, 0.0), 0.1, 0.0)
    sample = Sample(Posterior(kernel, data, setting), np.random.default_rng(0))
    codes = random_codes(kernel.space, 10, seed=3)
    hot = kernel.hot(codes)

    made = hot @ sample.main + ((hot @ sample.pairs) * hot).sum(axis=1) / 2
    np.testing.assert_allclose(sample.values(codes), made)


def test_what_is_taken_is_not_proposed_while_anything_is_left() -> None:
    kernel = Kernel(plain_space(2, "abc"))
    data = random_data(kernel.space, 6)
    posterior = Posterior(kernel, data, random_setting(kernel))
    every = kernel.space.enumerate()

    for left in range(len(every)):
        sample = Sample(posterior, np.random.default_rng(left))
        taken = np.delete(every, left, axis=0)
        found = best_candidate(sample, data.codes, taken, np.random.default_rng(0))
        assert found.tolist() == every[left].tolist()


def test_the_better_predictor_gets_the_larger_share() -> None:
    kernel = Kernel(plain_space(6, "abcd"))
    rng = np.random.default_rng(1)
    codes = random_codes(kernel.space, 60)
    effects = rng.standard_normal((6, 4))
    values = effects[np.arange(6), codes].sum(axis=1) + 0.1 * rng.standard_normal(60)
    data = Data(codes, values, np.full(60, -1), np.zeros(60))
    of_model = model_scores(kernel, data, fit(kernel, data))
    of_ratio = density_ratio_scores(kernel, data)

    assert share_of(of_model, of_ratio) > 0.9
    assert share_of(of_ratio, of_model) < 0.1
    assert share_of(of_model, of_model) == 0.5


def test_a_density_ratio_knows_what_good_trials_have_in_common() -> None:
    kernel = Kernel(plain_space(2, "abcd"))
    codes = kernel.space.enumerate()
    values = np.where(codes[:, 0] == 2, 10.0, 0.0) + np.arange(16) / 100
    data = Data(codes, values, np.full(16, -1), np.zeros(16))

    assert better_part(values).tolist() == (codes[:, 0] == 2).tolist()
    # Without what the others tell a quarter would be held likely for each.
    ignorant = 4 * np.log(0.25) + 12 * np.log(0.75)
    assert density_ratio_scores(kernel, data).sum() > ignorant + 1.5


def _covariance_of_values(kernel: Kernel, data: Data, setting: Setting) -> Floats:
    full = kernel.covariance(data.codes, data.codes, setting.shares)
    full = full + setting.block * (data.blocks[:, None] == data.blocks) * (data.blocks >= 0)
    return np.asarray(full + np.diag(setting.noise * (1 + data.inflation) + 1e-8))


def _predict(
    full: Floats, values: Floats, rest: NDArray[np.int64], left: int
) -> tuple[float, float]:
    """Predict one value from others, with an unknown constant mean: the augmented system."""
    count = len(rest)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = full[np.ix_(rest, rest)]
    system[count, :count] = system[:count, count] = 1
    right = np.append(full[rest, left], 1)
    weights = np.linalg.solve(system, right)
    return float(weights[:count] @ values[rest]), float(full[left, left] - weights @ right)
