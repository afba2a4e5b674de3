"""Losses, alternation and training steps reproduce the recorded reference system."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from ohlora_gan.models.gan import Discriminator, Generator
from ohlora_gan.training.gan import (
    Alternation,
    GanModule,
    discriminator_loss,
    discriminator_trainable,
    generator_loss,
    generator_trainable,
    set_trainable,
)
from tests.recordings import build_generator, state_of

pytestmark = pytest.mark.golden

# The recordings at 64x64 train the discriminator from 4x4 down (the reference's layer numbers), not from 16x16.
TRAINED_IN_D = 4


def networks(info, tensors):
    generator = build_generator(info["generator_constructor"], split=True)
    discriminator = Discriminator(**info["discriminator_constructor"])
    for name, net in (("generator", generator), ("discriminator", discriminator)):
        net.load_state_dict(state_of(tensors, f"state.{name}."), strict=True)
    return generator.train(), discriminator.train()


def reals_of(tensors):
    return (tensors["in.reals_u8"].float() / 255 - 0.5) / 0.5


def number(value):
    return float(value) if isinstance(value, str) else value


@pytest.mark.parametrize("part", ["cases", "chains"])
def test_schedule(golden, part):
    info, _ = golden("schedule")
    steps = [s for chain in info["chains"] for s in chain] if part == "chains" else info["cases"]
    rule = Alternation()
    assert steps
    for step in steps:
        order = []
        d, g = [number(x) for x in step["d_losses"]], [number(x) for x in step["g_losses"]]
        outcome = rule.run(
            lambda i: order.append("D") or d[i],  # noqa: B023
            lambda i: order.append("G") or g[i],  # noqa: B023
            number(step["last_g_loss_before"]),
        )
        assert "".join(order) == step["call_order"]
        assert (outcome.d_count, outcome.g_count) == (step["d_train_count"], step["g_train_count"])
        for got, want in (
            (outcome.d_loss, step["d_loss_returned"]),
            (outcome.g_loss, step["g_loss_returned"]),
            (outcome.g_loss, step["last_g_loss_after"]),
        ):
            assert got == number(want) or (math.isnan(got) and math.isnan(number(want)))


@pytest.mark.parametrize("case", ["a", "b"])
def test_losses(golden, case):
    info, t = golden("losses_64")
    want = info["cases"][case]
    label = t["in.labels"] if case == "b" else torch.zeros_like(t["in.labels"])

    def fakes(generator, phase):
        w = generator.mapping(t[f"{case}.in.{phase}.latents"], label).w
        generator.truncation.update(w, 0.995)
        noise = None
        if case == "b":
            noise = [t[f"b.in.{phase}.noise.layer{i}"].float() for i in range(generator.num_layers)]
        image = generator.synthesize(w, noise=noise)
        assert (generator.truncation.w_avg - t[f"{case}.out.{phase}.w_avg_after"]).abs().max() <= 1e-5
        assert not generator.truncation.w_avg.requires_grad
        return image

    generator, discriminator = networks(info, t)
    set_trainable(discriminator, discriminator_trainable(discriminator, TRAINED_IN_D))
    reals = reals_of(t).requires_grad_(True)
    with torch.no_grad():
        images = fakes(generator, "d")
    d = discriminator_loss(discriminator, reals, images, label, r1_gamma=want["d"]["r1_gamma"])
    d.loss.backward()
    assert float(d.loss.detach()) == pytest.approx(want["d"]["d_loss"], abs=2e-5)
    assert float(d.r1_penalty) == pytest.approx(want["d"]["r1_penalty"], abs=2e-5)
    assert float(d.real_scores.mean()) == pytest.approx(want["d"]["real_scores_mean"], abs=2e-5)
    assert float(d.fake_scores.mean()) == pytest.approx(want["d"]["fake_scores_mean"], abs=2e-5)
    assert (d.real_scores - t[f"{case}.out.d.real_scores"]).abs().max() <= 2e-5
    assert (d.fake_scores - t[f"{case}.out.d.fake_scores"]).abs().max() <= 2e-5
    scores = torch.cat([d.real_scores, d.fake_scores]).flatten()
    truth = torch.tensor([1] * len(reals) + [0] * len(reals))
    assert float(binary_auroc(scores, truth)) == pytest.approx(want["d"]["real_fake_auroc"], abs=1e-7)
    check_gradients(discriminator, t, f"{case}.out.d.grad.", want["d"]["grad_norms_reference_freezing"])
    got, ref = reals.grad[:1], t[f"{case}.out.d.grad_reals"]
    assert (got - ref).abs().max() <= 1e-2 * ref.abs().max()

    generator, discriminator = networks(info, t)
    set_trainable(generator, generator_trainable(generator, 16))
    set_trainable(discriminator, [])
    loss = generator_loss(discriminator, fakes(generator, "g"), label)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(want["g"]["g_loss"], abs=2e-5)
    check_gradients(generator, t, f"{case}.out.g.grad.", want["g"]["grad_norms_reference_freezing"])
    assert all(p.grad is None for p in discriminator.parameters())


def check_gradients(network, tensors, prefix, norms):
    grads = {k: p.grad for k, p in network.named_parameters() if p.grad is not None}
    assert set(grads) == set(norms)
    for name, grad in grads.items():
        want = tensors[prefix + name]
        if norms[name] == 0.0:
            assert grad.abs().max() <= 1e-8
        else:
            assert (grad - want).abs().max() <= 1e-2 * want.abs().max(), name
            assert float(grad.norm()) == pytest.approx(norms[name], rel=1e-2), name


class RecordedModule(GanModule):
    """Takes its latents from the recording, in the order of the loss calls."""

    latents: list
    seen: list

    def draw_latents(self, update, n):
        self.seen.append(update[0])
        return self.latents.pop(0)


@pytest.mark.filterwarnings("ignore")
def test_train_steps(golden, tmp_path):
    info, t = golden("train_step_64")
    # In float64, so that the recording's rounding is the only one: a gradient that is zero but for rounding becomes a
    # full-size step of either sign, and the tolerance allows for those of one float32 run.
    generator, discriminator = (net.double() for net in networks(info, t))
    before = {"generator": state(generator), "discriminator": state(discriminator)}
    module = RecordedModule(generator, discriminator, discriminator_resolution=TRAINED_IN_D, fresh_noise=False)
    module.latents = [t[f"in.latents.{k}"].double() for k in range(sum(len(s["calls"]) for s in info["steps"]))]
    module.seen = []
    reals = reals_of(t).double()
    data = [(torch.roll(reals[i], 5 * s, -1), torch.zeros(8).double()) for s in range(3) for i in range(len(reals))]
    after, logged = [], []

    class Spy(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            after.append({"generator": state(generator), "discriminator": state(discriminator)})
            logged.append({k: float(v) for k, v in trainer.callback_metrics.items()})

    trainer = pl.Trainer(
        accelerator="cpu", precision="64-true", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Spy()], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, DataLoader(data, batch_size=len(reals)))
    assert trainer.global_step == 3
    assert module.seen == [call[0] for step in info["steps"] for call in step["calls"]]
    for step, got in zip(info["steps"], logged, strict=True):
        assert got["train/d_loss"] == pytest.approx(step["d_loss"], abs=1e-5)
        assert got["train/g_loss"] == pytest.approx(step["g_loss"], abs=1e-5)
        assert got["train/d_train_count"] == step["d_train_count"]
        assert got["train/g_train_count"] == step["g_train_count"]
        assert got["train/auroc"] == pytest.approx(step["real_fake_auroc"], abs=1e-7)
    assert float(module.last_g_loss) == pytest.approx(info["steps"][-1]["last_g_loss_after"], abs=1e-5)
    for number, relative in ((1, 1.5e-7), (3, 4.5e-7)):
        for name in ("generator", "discriminator"):
            got = after[number - 1][name]
            check_states(before[name], got, t, f"after_step{number}.{name}.", info, number, relative)


def check_states(before, after, tensors, prefix, info, step, relative):
    name = prefix.split(".")[1]
    changed = [k for k in before if not torch.equal(before[k].float(), after[k].float())]
    assert sorted(changed) == sorted(info["changed"][f"after_step{step}"][name])
    exempt = total = 0
    for key in changed:
        error = (after[key] - tensors[prefix + key]).abs()
        assert error.max() <= 2e-4 * info["optimizer_update_counts_after_last_step"][name].get(key, 1), key
        exempt += int((error > 5e-6 + relative * tensors[prefix + key].abs()).sum())
        total += error.numel()
    assert exempt <= 1e-3 * total  # gradients that are zero but for rounding become full-size steps


def state(network):
    return {k: v.clone() for k, v in network.state_dict().items()}


def test_frozen_parameters_at_full_size(golden):
    info, _ = golden("manifest_full")
    with torch.device("meta"):
        generator, discriminator = Generator(), Discriminator()
    want = info["training"]
    assert generator_trainable(generator, 16) == want["after_freeze"]["generator"]
    assert discriminator_trainable(discriminator, 16) == want["after_freeze"]["discriminator"]
    module = GanModule.__new__(GanModule)
    torch.nn.Module.__init__(module)
    module.generator, module.discriminator = generator, discriminator
    module.trainable = {"g": generator_trainable(generator, 16), "d": discriminator_trainable(discriminator, 16)}
    set_trainable(generator, module.trainable["g"])
    set_trainable(discriminator, module.trainable["d"])
    for phase, key in (("d", "discriminator_phase"), ("g", "generator_phase")):
        with module.phase(phase):
            for name, net in (("generator", generator), ("discriminator", discriminator)):
                assert [k for k, p in net.named_parameters() if p.requires_grad] == want[key][name]
