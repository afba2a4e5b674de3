"""One training step of a GAN: what is counted, what moves, what stays, and in which precision."""

import copy
import math
from collections import Counter
from dataclasses import fields
from itertools import pairwise

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import ListConfig

from ohlora_gan import rng
from ohlora_gan.training import gan as gan_module
from ohlora_gan.training.gan import Alternation, RealScore
from tests.training.tiny_training import BATCH, Data, Record, fit, gan, state

pytestmark = pytest.mark.filterwarnings("ignore")


def spy(monkeypatch, module, name, record):
    """Calls ``record(*args)`` before each call of the module's method."""
    method = getattr(module, name)

    def wrapped(*args, **kwargs):
        record(*args)
        return method(*args, **kwargs)

    monkeypatch.setattr(module, name, wrapped)


def test_a_batch_counts_once_however_many_updates(tmp_path):
    # with ratio 0 no loss is ever low enough, so every update is repeated to the limit
    module, record = gan(max_d=3, max_g=4, d_ratio=0.0, g_ratio=0.0), Record()
    trainer = fit(tmp_path, module, [record], max_epochs=2)
    assert record.steps == [1, 2, 3, 4, 5, 6]
    assert trainer.global_step == 6
    assert [f["train/d_train_count"] for f in record.figures] == [1, 3, 3, 3, 3, 3]  # no g_loss before the first
    assert [f["train/g_train_count"] for f in record.figures] == [4] * 6
    assert int(module.images_seen) == 6 * BATCH
    g, d = trainer.optimizers
    assert {int(s["step"]) for s in g.state.values()} == {24}
    assert {int(s["step"]) for s in d.state.values()} == {16}


def test_max_steps_is_a_number_of_batches(tmp_path):
    module = gan(max_g=4, g_ratio=0.0)
    assert fit(tmp_path, module, max_epochs=-1, max_steps=4).global_step == 4
    assert int(module.images_seen) == 4 * BATCH


def test_frozen_parameters_stay_and_the_others_move(tmp_path):
    module = gan()
    before = state(module)
    fit(tmp_path, module)
    frozen = moved = 0
    for which, network in (("g", module.generator), ("d", module.discriminator)):
        prefix = "generator." if which == "g" else "discriminator."
        on_path = {n for n, p in network.named_parameters() if not n.split(".")[-2].startswith(("output", "input"))}
        for name, parameter in network.named_parameters():
            same = torch.equal(before[prefix + name], parameter)
            if name not in module.trainable[which]:
                assert same, name
                frozen += 1
            elif name in on_path:
                assert not same, name
                moved += 1
    assert frozen > 20
    assert moved > 40


def test_while_one_network_trains_the_other_takes_no_gradient(tmp_path, monkeypatch):
    module, seen = gan(max_d=2, max_g=2, d_ratio=0.0, g_ratio=0.0), Counter()

    def check(which, *_):
        other = module.discriminator if which == "g" else module.generator
        own = module.generator if which == "g" else module.discriminator
        assert not any(p.requires_grad for p in other.parameters())
        names = {n for n, p in own.named_parameters() if p.requires_grad}
        assert names == set(module.trainable[which])
        module.zero_grad(set_to_none=True)

    def check_after(loss):
        which = "g" if any(p.requires_grad for p in module.generator.parameters()) else "d"
        seen[which] += 1
        other = module.discriminator if which == "g" else module.generator
        assert all(p.grad is None for p in other.parameters())

    spy(monkeypatch, module, "apply_gradients", check)
    backward = module.manual_backward

    def manual_backward(loss, **options):
        backward(loss, **options)
        check_after(loss)

    monkeypatch.setattr(module, "manual_backward", manual_backward)
    fit(tmp_path, module)
    assert seen == {"d": 5, "g": 6}
    for which, network in (("g", module.generator), ("d", module.discriminator)):  # and all is as it was
        assert {n for n, p in network.named_parameters() if p.requires_grad} == set(module.trainable[which])


def test_w_avg_moves_at_every_forward_without_a_graph(tmp_path, monkeypatch):
    module, values = gan(max_d=2, max_g=3, d_ratio=0.0, g_ratio=0.0), []
    update = module.generator.truncation.update

    def recorded(w, decay):
        before = module.generator.truncation.w_avg.clone()
        update(w, decay)
        after = module.generator.truncation.w_avg
        torch.testing.assert_close(after, 0.995 * before + 0.005 * w.detach().mean(dim=0), rtol=0, atol=1e-7)
        assert not after.requires_grad
        values.append(after.clone())

    monkeypatch.setattr(module.generator.truncation, "update", recorded)
    fit(tmp_path, module)
    assert len(values) == (1 + 3) + 2 * (2 + 3)
    assert all(not torch.equal(a, b) for a, b in pairwise(values))


@pytest.mark.parametrize(("label_dim", "source"), [(0, "zeros"), (7, "zeros"), (7, "data")])
def test_labels(tmp_path, monkeypatch, label_dim, source):
    module, labels = gan(label_dim, label_source=source, weight_decay=0.0), []
    spy(monkeypatch, module, "fakes", lambda update, label, n, *_: labels.append(label))
    scores = []

    class Scores(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            scores.append(batch[1])

    before = module.generator.mapping.label_weight.clone() if label_dim else None
    fit(tmp_path, module, [Scores()], max_steps=1)
    if label_dim == 0:
        assert labels == [None, None]
        return
    wanted = scores[0][:, :7] if source == "data" else torch.zeros(BATCH, 7)
    assert all(torch.equal(label, wanted) for label in labels)
    # zeros give the embedding no gradient; labels of the data train it
    assert torch.equal(before, module.generator.mapping.label_weight) == (source == "zeros")


def test_every_update_draws_new_latents_and_noise_of_the_seed_alone(tmp_path, monkeypatch):
    drawn = []
    for seed in (0, 0, 1):
        module, latents = gan(max_d=2, max_g=2, d_ratio=0.0, g_ratio=0.0, seed=seed), []
        draw = module.draw_latents
        monkeypatch.setattr(module, "draw_latents", lambda u, n, d=draw, k=latents: k.append(d(u, n)) or k[-1])
        torch.manual_seed(len(drawn))  # the global generator decides nothing
        fit(tmp_path, module)
        drawn.append((torch.cat(latents), state(module)))
    first, again, other = drawn
    assert len(torch.unique(first[0], dim=0)) == len(first[0]) == (3 + 4 + 4) * BATCH
    assert torch.equal(first[0], again[0])
    assert all(torch.equal(first[1][name], again[1][name]) for name in first[1])
    assert not torch.equal(first[0], other[0])


def test_style_mixing(tmp_path, monkeypatch):
    mixed, plain = gan(style_mixing=1.0), gan()
    mapping = copy.deepcopy(mixed.generator.mapping)
    caught = {}
    for name, module in (("mixed", mixed), ("plain", plain)):
        keep = caught.setdefault(name, [])
        synthesis, module.frozen = module.synthesis, None
        monkeypatch.setattr(
            module, "synthesis", lambda wp, *a, s=synthesis, k=keep, **o: k.append(wp.detach()) or s(wp, *a, **o)
        )
        fit(tmp_path, module, max_steps=1)
    wp, own = caught["mixed"][0], caught["plain"][0]  # the first update, d0
    w = own[:, :1]
    assert torch.equal(own, w.expand_as(own))  # without mixing every layer gets the same w
    z = rng.normal(0, "train/z/d0/mix", range(BATCH), 16)
    other = mapping(z, torch.zeros(BATCH, 7)).w
    own_layers = [torch.equal(wp[:, k], own[:, k]) for k in range(wp.shape[1])]
    cut = own_layers.index(False)
    assert 0 < cut < wp.shape[1]
    assert own_layers == [k < cut for k in range(wp.shape[1])]
    assert torch.equal(wp[:, cut:], other.unsqueeze(1).expand_as(wp)[:, cut:])


def test_moving_average_of_the_generator(tmp_path):
    module, record = gan(ema_images=8.0), Record()
    start = state(module.generator)
    fit(tmp_path, module, [record])
    assert module.sampling_generator is module.generator_ema
    expected = start
    for number, now in enumerate(record.states, start=1):
        half_life = min(8.0, 0.05 * number * BATCH)  # short at first
        decay = 0.5 ** (BATCH / half_life)
        buffers = dict(module.generator.named_buffers())
        expected = {
            k: now[f"generator.{k}"] if k in buffers else decay * v + (1 - decay) * now[f"generator.{k}"]
            for k, v in expected.items()
        }
    name = "mapping.dense0.weight"
    for key, value in module.generator_ema.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)
    assert not torch.equal(module.generator_ema.state_dict()[name], module.generator.state_dict()[name])
    assert not any(p.requires_grad for p in module.generator_ema.parameters())


def test_r1_is_applied_every_interval_with_its_weight_multiplied(tmp_path, monkeypatch):
    module, weights, record = gan(r1_gamma=10.0, r1_interval=2), [], Record()
    spy(monkeypatch, module, "d_update", lambda repeat, reals, label, gamma, _: weights.append((repeat, gamma)))
    fit(tmp_path, module, [record], max_epochs=2)
    assert [gamma for repeat, gamma in weights if repeat == 0] == [20.0, 0.0, 20.0, 0.0, 20.0, 0.0]
    penalties = [figures.get("train/r1_penalty") for figures in record.figures]
    assert penalties[0] > 0
    assert penalties[2] not in (None, penalties[0])


def test_r1_and_learning_rates_change_after_so_many_images(tmp_path, monkeypatch):
    batch = 8
    module, weights, rates = gan(r1_gamma=[[0, 10], [2 * batch, 2]], lr_factor=[[0, 1], [batch, 0.5]]), [], []

    def note(repeat, reals, label, gamma, _):
        if repeat == 0:
            weights.append((int(module.images_seen), gamma))
            rates.append({round(g["lr"] / g["base_lr"], 6) for o in module.optimizers() for g in o.param_groups})

    spy(monkeypatch, module, "d_update", note)
    fit(tmp_path, module, max_epochs=2)
    assert [gamma for seen, gamma in weights] == [10.0 if seen < 2 * batch else 2.0 for seen, _ in weights]
    assert rates == [{1.0} if seen < batch else {0.5} for seen, _ in weights]
    assert {gamma for _, gamma in weights} == {10.0, 2.0}


@pytest.mark.parametrize("steps", [[], [[5, 1.0]], [[0, 1.0], [9, 2.0], [9, 3.0]]])
def test_steps_that_are_none_end_in_a_sentence(steps):
    with pytest.raises(ValueError, match=r"steps are .*, expected \[\[0, VALUE\]"):
        gan(r1_gamma=steps)


def test_bf16_training_takes_r1_in_float32(tmp_path, monkeypatch):
    kinds = {"scores": set(), "r1": set()}
    module = gan()
    forward, real_score = module.discriminator.forward, RealScore.__call__
    layer = module.discriminator.layer0
    layer.register_forward_hook(lambda m, args, out: kinds["now"].add(out.dtype))

    def plain(*args):
        kinds["now"] = kinds["r1"]
        return real_score(*args)

    def score(*args, **kwargs):
        kinds["now"] = kinds["scores"]
        return forward(*args, **kwargs)

    monkeypatch.setattr(RealScore, "__call__", plain)
    monkeypatch.setattr(module, "score", score)
    before, record = state(module), Record()
    fit(tmp_path, module, [record], precision="bf16-mixed")
    assert kinds["r1"] == {torch.float32}
    assert kinds["scores"] == {torch.bfloat16}
    assert all(math.isfinite(value) for figures in record.figures for value in figures.values())
    after = state(module)
    assert all(value.dtype == before[name].dtype for name, value in after.items())  # weights stay in float32
    assert not torch.equal(before["generator.mapping.dense0.weight"], after["generator.mapping.dense0.weight"])


def test_the_last_g_loss_is_part_of_the_checkpoint(tmp_path):
    module, record = gan(), Record()
    trainer = fit(tmp_path, module, [record])
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    kept = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert kept["has_last_g_loss"] is True
    assert float(kept["state_dict"]["last_g_loss"]) == pytest.approx(record.figures[-1]["train/g_loss"], rel=1e-6)


def test_a_loss_that_is_no_number_stops_no_alternation():
    outcome = Alternation().run(lambda repeat: math.nan, lambda repeat: 1.0, last_g_loss=1.0)
    assert (outcome.d_count, outcome.g_count) == (4, 4)


@pytest.mark.parametrize(("option", "value"), [("label_source", "ones"), ("optimizer", "sgd"), ("max_d", 0)])
def test_wrong_settings_are_refused(option, value):
    with pytest.raises(ValueError, match=str(value)):
        gan(**{option: value})
    with pytest.raises(ValueError, match=r"^r1_gama= is no setting of GanSettings: did you mean r1_gamma\? expected"):
        gan(r1_gama=1.0)


def test_hyper_parameters_are_plain_data():
    hparams = gan(betas=ListConfig([0, 0.99]), grow_images=ListConfig([[8, 4]])).hparams
    assert {type(value) for value in hparams.values()} <= {str, int, float, bool, list}
    assert set(hparams) == {field.name for field in fields(gan_module.GanSettings)}
    assert set(gan_module.OPTIMIZERS) == {"adam", "adamw"}


PAIRED = {"generator_resolution": None, "pixel_weight": 10.0, "fresh_noise": False, "lr": 5e-3, "optimizer": "adam"}


def test_pairs_alone_teach_the_generator_and_not_the_discriminator(tmp_path):
    module, record = gan(0, **PAIRED, adversarial_weight=0.0, mapping_lr_scale=100.0), Record()
    before, data = state(module), Data(latents=module.generator.z_dim)
    fit(tmp_path, module, [record], data, max_epochs=40)
    losses = [figures["train/g_loss"] for figures in record.figures]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    assert "train/d_loss" not in record.figures[-1]
    assert all(torch.equal(before[n], v) for n, v in state(module).items() if n.startswith("discriminator.la"))


def test_the_discriminator_joins_in_when_its_weight_says_so(tmp_path):
    module, record = gan(0, **PAIRED, adversarial_weight=[[0, 0.0], [2 * BATCH, 1.0]]), Record()
    fit(tmp_path, module, [record], Data(latents=module.generator.z_dim))
    assert [figures["train/d_train_count"] for figures in record.figures[:2]] == [0, 0]
    assert record.figures[2]["train/d_train_count"] == 1
    trained = [n for n in module.state_dict() if n.startswith("discriminator.layer")]
    assert all(torch.equal(record.states[0][n], record.states[1][n]) for n in trained)
    assert any(not torch.equal(record.states[1][n], record.states[2][n]) for n in trained)


def test_pixel_loss_is_of_the_latents_own_picture(tmp_path, monkeypatch):
    module, seen = gan(0, **PAIRED), []
    spy(monkeypatch, module, "fakes", lambda update, label, n, latents=None: seen.append((update, latents)))
    fit(tmp_path, module, data=Data(latents=module.generator.z_dim), max_steps=1)
    known = rng.normal(0, "test/latents", range(12), module.generator.z_dim)
    (_, of_d), (_, of_g) = seen[0], seen[-1]
    assert of_d is None
    assert all(any(torch.equal(row, one) for one in known) for row in of_g)


def test_pixel_loss_weighs_edges():
    image = torch.zeros(1, 3, 4, 4)
    shifted, edge = image + 0.1, image.clone()
    edge[..., ::2] = 0.2  # the same mean difference, with edges
    assert gan_module.pixel_loss(shifted, image) == pytest.approx(0.1)
    assert gan_module.pixel_loss(edge, image) == pytest.approx(0.1 + 0.5 * 0.2)


@pytest.mark.parametrize("latents", [None, 3])
def test_pictures_without_fitting_latents_are_refused(tmp_path, latents):
    module = gan(0, **PAIRED)
    with pytest.raises(ValueError, match=r"latents .* data.latents=\d+, or model.module.pixel_weight=0"):
        fit(tmp_path, module, data=Data(latents=latents))
