"""Directions by the input gradient of nets: the numbers of the reference system, known directions, restoring."""

import numpy as np
import pytest
import torch

from ohlora_gan.directions.derivatives import KEYS, GradientFinder, input_gradients
from ohlora_gan.names import PROPERTIES
from ohlora_gan.training.gradient_net import GradientNet, NetTrainer
from tests.recordings import recipe_state

SIZE = 12
TRAIN = NetTrainer(max_epochs=10, batch_size=64, lr=5e-3)


def random_net(size=SIZE, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GradientNet(size).eval()


def arrays(net):
    return {name: value.numpy() for name, value in net.state_dict().items()}


def world(n=1500):
    """Vectors; scores of which eyes and pose are linear and mouth is not, with noise; true directions."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, SIZE)).astype(np.float32)
    scores = rng.standard_normal((n, len(PROPERTIES))).astype(np.float32)
    eyes, pose, right, up = np.linalg.qr(rng.standard_normal((SIZE, 4)))[0].T
    scores[:, PROPERTIES.index("eyes")] = X @ eyes + 0.1 * scores[:, 0]
    scores[:, PROPERTIES.index("pose")] = 3 * X @ pose
    scores[:, PROPERTIES.index("mouth")] = X @ right + 0.5 * (X @ up) ** 2
    return X, scores, {"eyes": eyes, "pose": pose, "right": right, "up": up}


@pytest.fixture(scope="module")
def fitted():
    X, scores, truth = world()
    return GradientFinder(TRAIN).fit(X, scores), X, truth


@pytest.mark.golden
@pytest.mark.parametrize("size", [512, 1024, 2560])
def test_golden_gradients(golden, size):
    info, t = golden("gradient_nn")
    recorded = info["networks"][str(size)]
    gains = {k: info["recipe"][k] for k in ("gain_conv", "gain_fc", "bias_amp")}
    state = recipe_state(recorded["tensors"], recorded["seed"], **gains)
    finder = GradientFinder().restore(
        np.ones((1, 1, size)), ["all"], PROPERTIES, ["eyes"], {f"eyes.{k}": v.numpy() for k, v in state.items()}
    )
    x = t[f"in.{size}.x"].numpy()
    gradients = input_gradients({k: v.numpy() for k, v in state.items()}, x)
    np.testing.assert_allclose(gradients, t[f"out.{size}.gradient"], rtol=0, atol=1e-5)
    directions = np.concatenate([finder.direction(vector) for vector in x])
    np.testing.assert_allclose(directions, t[f"out.{size}.gradient_normalized"], rtol=0, atol=1e-5)


def test_the_chain_rule_agrees_with_autograd():
    net = random_net()
    x = torch.randn(7, SIZE, generator=torch.Generator().manual_seed(2))
    assert tuple(net.state_dict()) == KEYS
    (by_autograd,) = torch.autograd.grad(net(x.requires_grad_()).sum(), x)
    gradients = input_gradients(arrays(net), x.detach().numpy())
    assert gradients.dtype == np.float32
    np.testing.assert_allclose(gradients, by_autograd, rtol=0, atol=1e-6)


def test_known_directions_are_recovered(fitted):
    """One that is the same everywhere to a cosine of .99 (.97 at a point), one that turns with the point to .9."""
    finder, X, truth = fitted
    eyes, mouth, pose = np.stack([finder.direction(x) for x in X[:200]]).transpose(1, 0, 2)
    assert (eyes @ truth["eyes"]).mean() > 0.97
    assert (pose @ truth["pose"]).mean() > 0.97
    assert finder.directions_[0, 0] @ truth["eyes"] > 0.99
    assert finder.directions_[2, 0] @ truth["pose"] > 0.99
    slope = (X[:200] @ truth["up"])[:, None]
    bending = truth["right"] + slope * truth["up"]
    bending /= np.linalg.norm(bending, axis=1, keepdims=True)
    assert (mouth * bending).sum(axis=1).mean() > 0.9
    assert (mouth @ truth["right"]).mean() < 0.85  # the fixed direction alone is not the answer


def test_metrics_are_named_after_their_property(fitted):
    finder, _, _ = fitted
    figures = ("mse", "mae", "rmse", "corr", "epochs")
    assert set(finder.metrics_) == {f"nn_{name}_{figure}" for name in ("eyes", "mouth", "pose") for figure in figures}
    assert finder.metrics_["nn_pose_corr"] > 0.98


def test_directions_are_the_mean_over_the_samples(fitted):
    finder, X, _ = fitted
    mean = np.mean([finder.direction(x) for x in X], axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(finder.directions_[:, 0], mean, rtol=0, atol=1e-5)


def test_where_the_nets_are_flat_the_mean_applies(fitted):
    finder, _, _ = fitted
    far_away = np.full(SIZE, 1e9)
    assert not input_gradients(finder.nets_[0], far_away[None]).any()
    np.testing.assert_array_equal(finder.direction(far_away), finder.directions_[:, 0])


def test_a_restored_finder_gives_the_same_directions(fitted):
    finder, X, _ = fitted
    restored = GradientFinder().restore(
        finder.directions_, finder.group_names_, PROPERTIES, ("eyes", "mouth", "pose"), finder.state_
    )
    np.testing.assert_array_equal(restored.direction(X[3]), finder.direction(X[3]))
    np.testing.assert_array_equal(restored.directions_, finder.directions_)
    assert restored.pointwise


def test_a_state_that_lacks_a_tensor_is_refused(fitted):
    finder, _, _ = fitted
    state = {name: value for name, value in finder.state_.items() if name != "mouth.fc2.0.bias"}
    with pytest.raises(ValueError, match=r"lack 1 tensors, mouth\.fc2\.0\.bias first"):
        GradientFinder().restore(finder.directions_, ["all"], PROPERTIES, ("eyes", "mouth", "pose"), state)


def test_the_properties_do_not_share_a_net_and_may_be_any():
    X, scores, _ = world(100)
    names = [f"p{i}" for i in range(scores.shape[1])]
    finder = GradientFinder(NetTrainer(max_epochs=1)).fit(X, scores, names=names, edited=["p4", "p0"])
    assert finder.directions_.shape == (2, 1, SIZE)
    assert set(finder.state_) == {f"{prop}.{key}" for prop in ("p4", "p0") for key in KEYS}
    alone = GradientFinder(NetTrainer(max_epochs=1)).fit(X, scores, names=names, edited=["p0"])
    np.testing.assert_array_equal(alone.directions_[0], finder.directions_[1])


@pytest.mark.parametrize(
    ("finder", "spoil", "message"),
    [
        (GradientFinder(), lambda s: s, "can only be restored"),
        (GradientFinder(TRAIN), lambda s: 0 * s, "same eyes score: nothing to learn"),
        (
            GradientFinder(lambda X, y, stream, progress: ({k: 0 * v for k, v in arrays(random_net()).items()}, {})),
            lambda s: s,
            "predicts eyes does not depend on its vector",
        ),
    ],
)
def test_what_cannot_work_is_said(finder, spoil, message):
    X, scores, _ = world(60)
    with pytest.raises(ValueError, match=message):
        finder.fit(X, spoil(scores))
