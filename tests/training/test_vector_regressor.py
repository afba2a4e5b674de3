"""Training of the nets that predict a score from a vector."""

import numpy as np
import pytest
import torch

from ohlora_gan.testing import Bar
from ohlora_gan.training.gradient_net import (
    GradientNet,
    NetTrainer,
    VectorBatches,
    VectorRegressor,
    regression_figures,
)

SIZE = 8


def world(n=320):
    """Vectors and a score that bends along one of their axes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, SIZE)).astype(np.float32)
    return X, np.tanh(X[:, 0]) + 0.5 * X[:, 1]


def train(X, y, stream="eyes", progress=None, **settings):
    return NetTrainer(**{"max_epochs": 3, "lr": 3e-3} | settings)(X, y, stream, progress)


def test_a_net_learns_and_says_how_well():
    X, y = world(1000)
    weights, figures = train(X, y, max_epochs=8)
    assert list(weights) == list(GradientNet(SIZE).state_dict())
    assert figures["corr"] > 0.98
    assert figures["mse"] < 0.05
    assert figures["rmse"] == pytest.approx(figures["mse"] ** 0.5)
    assert figures["epochs"] == 8


def test_figures_are_those_of_the_test_samples_with_dropout_off():
    X, y = world()
    trainer = NetTrainer(max_epochs=2)
    weights, figures = trainer(X, y, "eyes")
    *_, test = trainer._batches(torch.from_numpy(X), torch.from_numpy(y)[:, None], "eyes")
    assert len(test.rows) == 32
    net = GradientNet(SIZE).eval()
    net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    with torch.no_grad():
        predictions = net(torch.from_numpy(X[test.rows]))[:, 0].numpy()
    expected = regression_figures(predictions, y[test.rows])
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-6)


def test_a_net_of_centred_vectors_takes_vectors_as_they_are():
    X, y = world()
    settings = {"max_epochs": 2, "center": True}
    near, figures = train(X, y, **settings)
    far, figures_far = train(X + 5, y, **settings)
    assert figures_far["mse"] == pytest.approx(figures["mse"], rel=1e-3)  # where the vectors lie has no say
    nets = [GradientNet(SIZE).eval() for _ in range(2)]
    for net, weights in zip(nets, (near, far), strict=True):
        net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    with torch.no_grad():
        scores = [net(torch.from_numpy(x)) for net, x in zip(nets, (X, X + 5), strict=True)]
    torch.testing.assert_close(*scores, rtol=0, atol=5e-3)


def test_figures():
    rng = np.random.default_rng(1)
    predictions, scores = rng.standard_normal((2, 50))
    figures = regression_figures(predictions, scores)
    assert figures["mse"] == pytest.approx(((predictions - scores) ** 2).mean())
    assert figures["mae"] == pytest.approx(np.abs(predictions - scores).mean())
    deviations = (predictions - predictions.mean()) * (scores - scores.mean())
    assert figures["corr"] == pytest.approx(deviations.mean() / predictions.std() / scores.std())
    assert regression_figures(np.ones(3), np.arange(3.0))["corr"] is None


def test_the_same_seed_and_stream_give_the_same_net_and_leave_torch_alone():
    X, y = world()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, _ = train(X, y)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, _ = train(X, y)
    other_stream, _ = train(X, y, "mouth")
    other_seed, _ = train(X, y, seed=1)
    key = "fc1.0.weight"
    for name, value in one.items():
        np.testing.assert_array_equal(value, again[name])
    assert not np.allclose(one[key], other_stream[key])
    assert not np.allclose(one[key], other_seed[key])


def test_training_stops_early_and_keeps_the_best_weights(monkeypatch):
    X, y = world()
    losses, ended = [], VectorRegressor.on_validation_end

    def watched(module):
        ended(module)
        loss = float(module.trainer.callback_metrics["val/loss"])
        losses.append((loss, module.best_loss, module.net.fc_final.bias.item()))

    monkeypatch.setattr(VectorRegressor, "on_validation_end", watched)
    weights, figures = train(X, y, max_epochs=200, patience=2, lr=0.02, decay=1.0)
    values = [loss for loss, _, _ in losses]
    best = int(np.argmin(values))
    assert figures["epochs"] == len(values) == best + 1 + 2
    assert losses[-1][1] == min(values)
    assert weights["fc_final.bias"][0] == losses[best][2] != losses[-1][2]


def test_loss_optimizer_and_schedule_are_the_published_ones():
    module = VectorRegressor(GradientNet(SIZE))
    (optimizer,), (schedule,) = module.configure_optimizers()
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["lr"] == 1e-3
    assert optimizer.param_groups[0]["weight_decay"] == 0.01
    assert isinstance(schedule, torch.optim.lr_scheduler.ExponentialLR)
    assert schedule.gamma == 0.95
    x, y = torch.randn(4, SIZE), torch.randn(4, 1)
    module.eval()
    assert torch.allclose(module.training_step((x, y), 0), ((module.net(x) - y) ** 2).sum())


def test_the_learning_rate_shrinks_once_an_epoch(monkeypatch):
    rates = []
    monkeypatch.setattr(VectorRegressor, "on_validation_end", lambda module: None)
    monkeypatch.setattr(
        VectorRegressor, "on_train_epoch_start", lambda m: rates.append(m.optimizers().param_groups[0]["lr"])
    )
    X, y = world(40)
    with pytest.raises(ValueError, match="no finite validation loss"):  # nothing was kept
        train(X, y, lr=1e-3)
    assert rates == pytest.approx([1e-3, 0.95e-3, 0.95**2 * 1e-3])


def test_batches_are_every_row_once_in_a_new_order_each_epoch():
    X, y = torch.arange(40.0).reshape(20, 2), torch.arange(20.0)[:, None]
    batches = VectorBatches(X, y, np.arange(3, 20), 5, order=(0, "order"))
    first, second = ([torch.cat(parts) for parts in zip(*batches, strict=True)] for _ in range(2))
    assert len(batches) == 4
    for vectors, scores in (first, second):
        assert sorted(scores[:, 0].tolist()) == list(range(3, 20))
        assert torch.equal(vectors[:, 0], 2 * scores[:, 0])
    assert not torch.equal(first[1], second[1])


def test_progress_tells_of_every_epoch_and_reaches_the_total():
    bar = Bar()
    _, figures = train(*world(), progress=bar, max_epochs=200, patience=4, lr=0.02, decay=1.0)
    num_epochs = figures["epochs"]
    assert [done for done, _ in bar.calls] == [*range(1, num_epochs + 1)]
    assert bar.calls[0] == (1, 5)  # the first epoch is the best so far: four more
    assert (bar.n, bar.total) == (num_epochs, num_epochs)


def test_it_is_quiet_and_writes_nothing(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    train(*world(40), max_epochs=1)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().out == ""
    assert not caplog.records


@pytest.mark.parametrize(
    ("settings", "n", "message"),
    [
        ({}, 9, "n=9 is too small to train a net, expected at least 10"),
        ({"max_epochs": 0}, 40, "max_epochs is 0"),
        ({"patience": 0}, 40, "patience is 0"),
        ({"batch_size": 0}, 40, "batch_size is 0"),
        ({"lr": 0}, 40, "lr is 0"),
        ({"decay": 1.5}, 40, r"decay is 1\.5"),
        ({"lr": 1e30}, 40, "lower lr=1e"),
    ],
)
def test_what_cannot_work_is_said(settings, n, message):
    with pytest.raises(ValueError, match=message):
        train(*world(n), **settings)
