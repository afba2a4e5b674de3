import numpy as np
import pytest
import torch

from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.judging.rescoring import OWN, Source, rescore, sources_of, step_for
from ohlora_gan.latents.layers import W, Z
from ohlora_gan.latents.space import FaceSpace
from tests import tiny

SIZE = 6
NAMES = ("up", "down", "size", "sign")
CODES = np.random.default_rng(5).standard_normal((400, SIZE)).astype(np.float32)


def unit(layer) -> np.float32:
    """Codes at layer z are three times smaller, so a step there does three times as much."""
    return np.float32(3.0 if isinstance(layer, Z) else 1.0)


class KnownSpace(FaceSpace):
    """Faces whose picture is the code itself. ``up`` and ``down`` are +2 and -1 of the first value, ``size`` the
    absolute second value, ``sign`` 1 where the third is positive."""

    may_lose = False

    def __init__(self, batch_size: int = 64):
        self.batch_size, self.seed, self.property_names = batch_size, 0, NAMES

    def latents(self, stream, indices):
        assert stream == "choose"
        return torch.from_numpy(CODES[list(indices)]), None

    def codes(self, layer, z, label):
        return z.numpy() / unit(layer)

    def render(self, layer, codes, noise_seed=None, first=0):
        yield torch.from_numpy(codes * unit(layer))[:, None, None, :]

    def score(self, images):
        x = images[:, 0, 0]
        return torch.stack([2 * x[:, 0], -x[:, 0], x[:, 1].abs(), (x[:, 2] > 0).float()], dim=1)


def along(axis: int, sign: float = 1.0) -> np.ndarray:
    return sign * np.eye(SIZE, dtype=np.float32)[axis]


def found(directions, properties, groups=("all",), medians=None, layer="w", method="known"):
    return DirectionSet(np.array(directions), list(groups), layer, method, medians or {}, {}, tuple(properties))


def test_ds_is_the_mean_rise():
    sets = found([[along(0)], [along(0)], [along(1)], [along(2)]], NAMES)
    result = rescore(KnownSpace(), sources_of("run", sets, W()), n=400, step=0.5)
    ds = result.ds()
    np.testing.assert_allclose(ds[0], [1.0, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(ds[1], ds[0])
    np.testing.assert_allclose(result.mean_change()[1], [1.0, -0.5, 0, 0], atol=1e-5)
    x = CODES[:, 1]
    rise = np.abs(x + 0.5) - np.abs(x)
    assert (rise < 0).any()
    np.testing.assert_allclose(ds[2], [0, 0, np.maximum(rise, 0).mean(), 0], atol=1e-5)
    x = CODES[:, 2]
    assert ds[3, 3] == pytest.approx(((x <= 0) & (x + 0.5 > 0)).mean())
    assert [c.step for c in result.candidates] == [0.5] * 4


def test_interval_is_that_of_the_mean():
    result = rescore(KnownSpace(), sources_of("run", found([[along(1)]], ["size"]), W()), n=400, step=0.5)
    gains = np.maximum(result.changes[:, 0, 2], 0)
    (row,) = result.rows()
    assert float(row["ds"]) == pytest.approx(gains.mean(), abs=1e-4)
    half = 1.96 * gains.std() / np.sqrt(len(gains))
    assert float(row["low"]) == pytest.approx(gains.mean() - half, abs=0.15 * half)
    assert float(row["high"]) == pytest.approx(gains.mean() + half, abs=0.15 * half)
    assert float(row["ds_up"]) == 0


def test_the_best_candidate_wins():
    good = found([[along(0), along(0, -1)], [along(3), along(1)]], ["up", "size"], ["h", "l"], {})
    weak = found([[along(0) * 0.6 + along(3) * 0.8], [along(4)]], ["up", "size"], method="other")
    sources = [*sources_of("good", good, W()), *sources_of("weak", weak, W())]
    result = rescore(KnownSpace(), sources, n=100)
    winners = {name: (result.candidates[i], share) for name, (i, share) in result.winners().items()}
    assert {(c.run, c.group, share) for c, share in winners.values()} == {("good", "h", 1.0), ("good", "l", 1.0)}
    assert winners["size"][0].group == "l"
    assert "| up | good (known) | w | h | 4.000 [4.000, 4.000] | 100% | 3 | 2.00 |" in result.table()


def test_own_group_moves_each_face_by_its_own_direction():
    sets = found([[along(0), along(3)]], ["up"], ["h", "l"], {"size": 0.6})
    sources = sources_of("run", sets, W())
    assert [source.group for source in sources] == [OWN, "h", "l"]
    result = rescore(KnownSpace(), sources, n=200, step=1.0)
    high = np.abs(CODES[:200, 1]) >= 0.6
    np.testing.assert_allclose(result.changes[:, 0, 0], np.where(high, 2.0, 0.0), atol=1e-5)
    np.testing.assert_allclose(result.ds()[:, 0], [2 * high.mean(), 2.0, 0.0], atol=1e-5)


def test_directions_that_depend_on_the_point():
    class Pointwise(DirectionSet):
        def direction(self, x, group=None):
            return np.sign(x[:1, None]) * along(0)

    sets = Pointwise(along(0)[None, None], ["all"], "w", "pointwise", properties=("up",))
    result = rescore(KnownSpace(), [Source("run", sets, W(), "all")], n=100, step=1.0)
    np.testing.assert_allclose(result.changes[:, 0, 0], 2 * np.sign(CODES[:100, 0]), atol=1e-5)


def test_matched_steps_change_images_equally():
    sets = found([[along(0)], [along(1)]], ["up", "size"])
    sources = [*sources_of("w", sets, W()), *sources_of("z", sets, Z())]
    plain = rescore(KnownSpace(), sources, n=100, step=0.3)
    matched = rescore(KnownSpace(), sources, n=100, step=0.3, matched=True)
    sizes = np.array([c.image_change for c in matched.candidates])
    assert plain.candidates[2].image_change > 2 * plain.candidates[0].image_change
    assert np.ptp(sizes) < 0.1 * sizes.mean()
    assert matched.candidates[0].step == 0.3
    assert matched.candidates[2].step == pytest.approx(0.1, rel=0.02)
    np.testing.assert_allclose(matched.ds()[2, 0], matched.ds()[0, 0], rtol=0.02)


def test_a_step_is_found_where_the_change_saturates():
    assert step_for(np.tanh, 0.5, start=0.1) == pytest.approx(np.arctanh(0.5), rel=0.03)
    assert step_for(np.tanh, 1.5, start=0.1) is None
    assert step_for(lambda step: 0.0, 0.5, start=1.0) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 9}, "n is 9, expected at least 10 faces"),
        ({"step": 0.0}, r"step is 0\.0, expected a positive length"),
        ({"step": float("nan")}, "step is nan"),
        ({"properties": ["nose"]}, "no candidate for nose: the runs have directions for up"),
    ],
)
def test_settings_that_cannot_be_used(changes, message):
    with pytest.raises(ValueError, match=message):
        rescore(KnownSpace(), sources_of("run", found([[along(0)]], ["up"]), W()), **({"n": 20} | changes))


def test_a_scorer_has_to_measure_what_is_changed():
    with pytest.raises(ValueError, match="no candidate: the runs have directions for nose, the scorer measures up,"):
        rescore(KnownSpace(), sources_of("run", found([[along(0)]], ["nose"]), W()), n=20)
    both = sources_of("run", found([[along(0)], [along(1)]], ["nose", "up"]), W())
    assert [candidate.property for candidate in rescore(KnownSpace(), both, n=20).candidates] == ["up"]


def test_a_candidate_without_effect_cannot_be_matched():
    sets = found([[along(0)], [along(1)]], ["up", "size"])

    class Deaf(KnownSpace):
        def render(self, layer, codes, noise_seed=None, first=0):
            for images in super().render(layer, codes):
                images[..., 1] = 0.0
                yield images

    with pytest.raises(ValueError, match="run, size of group all, cannot change images by"):
        rescore(Deaf(), sources_of("run", sets, W()), n=20, step=0.3, matched=True)


def test_results_do_not_depend_on_the_batch_size():
    space = FaceSpace(tiny.generator(), tiny.scorer(), batch_size=16)
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((2, 1, 16))
    sets = found(raw / np.linalg.norm(raw, axis=2, keepdims=True), ["eyes", "pose"])
    many = rescore(space, sources_of("run", sets, W()), n=20)
    space.batch_size = 7
    few = rescore(space, sources_of("run", sets, W()), n=20)
    np.testing.assert_allclose(many.changes, few.changes, atol=1e-4)
    assert np.abs(many.changes).max() > 1e-2
