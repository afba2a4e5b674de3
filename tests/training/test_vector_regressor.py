"""Training of the nets that predict a score from a vector."""

import numpy as np
import pytest
import torch

from ohlora_gan.testing import Bar
from ohlora_gan.training import gradient_net
from ohlora_gan.training.gradient_net import GradientNet, NetTrainer, batches, regression_figures

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
    *_, test = trainer.split(len(X), "eyes")
    assert len(test) == 32
    net = GradientNet(SIZE).eval()
    net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    with torch.no_grad():
        predictions = net(torch.from_numpy(X[test]))[:, 0].numpy()
    expected = regression_figures(predictions, y[test])
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
    epochs, mean_loss = [], gradient_net.mean_loss

    def watched(net, *args):
        epochs.append((mean_loss(net, *args), net.fc_final.bias.item()))
        return epochs[-1][0]

    monkeypatch.setattr(gradient_net, "mean_loss", watched)
    weights, figures = train(X, y, max_epochs=200, patience=2, lr=0.02, decay=1.0)
    losses = [loss for loss, _ in epochs]
    best = int(np.argmin(losses))
    assert figures["epochs"] == len(losses) == best + 1 + 2
    assert weights["fc_final.bias"][0] == epochs[best][1] != epochs[-1][1]


def test_loss_optimizer_and_schedule_are_the_published_ones(monkeypatch):
    steps, losses = [], []

    class Optimizer(torch.optim.AdamW):
        def step(self):
            steps.append({name: self.param_groups[0][name] for name in ("lr", "weight_decay")})
            super().step()

    def loss(a, b, **how):
        losses.append(how)
        return ((a - b) ** 2).sum()

    monkeypatch.setattr(torch.optim, "AdamW", Optimizer)
    monkeypatch.setattr(gradient_net.F, "mse_loss", loss)
    X, y = world(40)
    NetTrainer(max_epochs=3)(X, y, "eyes")
    assert {step["weight_decay"] for step in steps} == {0.01}
    assert len(steps) == 3 * 2  # 32 samples, 16 a batch
    assert [step["lr"] for step in steps[::2]] == pytest.approx([1e-3, 0.95e-3, 0.95**2 * 1e-3])
    assert losses[:3] == [{"reduction": "sum"}, {"reduction": "sum"}, {}]  # then validation


def test_batches_are_rows_with_their_scores():
    X, y = torch.arange(40.0).reshape(20, 2), torch.arange(20.0)[:, None]
    rows = np.arange(3, 20)
    parts = list(batches((X, y), rows, 5, torch.device("cpu")))
    assert len(parts) == 4
    vectors, scores = (torch.cat(part) for part in zip(*parts, strict=True))
    assert scores[:, 0].tolist() == rows.tolist()
    assert torch.equal(vectors[:, 0], 2 * scores[:, 0])


def test_every_epoch_takes_every_training_row_once_in_a_new_order(monkeypatch):
    seen = []

    def watched(samples, rows, size, device):
        seen.append((rows.tolist(), size))
        return batches(samples, rows, size, device)

    monkeypatch.setattr(gradient_net, "batches", watched)
    train(*world(40), max_epochs=2, batch_size=5)
    first, second = (rows for rows, size in seen if size == 5)
    assert sorted(first) == sorted(second) == sorted(NetTrainer().split(40, "eyes")[0])
    assert first != second


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
        ({"accelerator": "tpu"}, 40, "accelerator is 'tpu'"),
    ],
)
def test_what_cannot_work_is_said(settings, n, message):
    with pytest.raises(ValueError, match=message):
        train(*world(n), **settings)
