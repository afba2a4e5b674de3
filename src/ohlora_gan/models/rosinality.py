"""Generators as rosinality's PyTorch programs save them, translated to networks of ours. No code of theirs is needed.

style-based-gan-pytorch (StyleGAN-1): its layers differ from ours in gains, in where the bias is added and in the
epsilon of the instance norm. Gains go into the weights; the rest are fields of `Architecture`.

stylegan2-pytorch (StyleGAN2): NVIDIA's network in other names. There a modulated kernel is scaled before it is
demodulated, so that its scale goes into the weights.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ohlora_gan.models import gan, styles
from ohlora_gan.models.checkpoint import CheckpointError
from ohlora_gan.models.stylegan2 import channels_at

State = Mapping[str, Tensor]
NUM_AVERAGED = 4096  # z whose mean w is w_avg where a file holds none
NEVER_FUSED = 2048
INSTANCE_NORM_EPSILON = 1e-5  # torch's default, which they kept
AVERAGE = "latent_avg"
"""What the files of their conversion program hold beside the networks: w_avg."""


class Renaming:
    """Tensors under our names, and what the file calls each of them.

    Attributes:
        left: those of the file that nothing was made of yet.
        tensors: ours.
        names: our key -> the file's.
    """

    def __init__(self, state: State):
        self.left, self.tensors, self.names = dict(state), dict[str, Tensor](), dict[str, str]()

    def take(self, ours: str, theirs: str, change: Callable[[Tensor], Tensor] = Tensor.clone) -> None:
        """Makes one of ours of one of theirs; KeyError, with its name, where the file lacks it."""
        self.tensors[ours], self.names[ours] = change(self.left.pop(theirs)), theirs

    def scaled(self, ours: str, theirs: str, factor: float) -> None:
        """The same, multiplied."""
        self.take(ours, theirs, lambda tensor: tensor * factor)

    def drop(self, *starts: str) -> None:
        """Leaves out what the network does not need, by how its names begin."""
        self.left = {key: value for key, value in self.left.items() if not key.startswith(starts)}

    def check_all_used(self) -> None:
        """CheckpointError where the file holds more than the layout."""
        if self.left:
            more = f" and {len(self.left) - 6} more" if len(self.left) > 6 else ""
            raise CheckpointError(f"left over: {', '.join([*self.left][:6])}{more}")


def read_stylegan1(state: State) -> tuple[dict[str, Any], Renaming]:
    """`Generator`'s arguments and tensors, from the keys ``style.*`` and ``generator.*`` of ``StyledGenerator``.

    The file always has blocks up to 1024x1024; those that training never reached still have the biases that they began
    with, and are left out. Both layers of a side get the same noise, as there, and w_avg, which the file lacks, is the
    mean of w over 4096 z.
    """
    found = Renaming(state)
    blocks = sum(key.endswith("conv2.conv.weight_orig") for key in state)
    trained = [i for i in range(blocks) if state[f"generator.to_rgb.{i}.conv.bias"].any()]
    num_blocks = trained[-1] + 1 if trained else blocks
    fused = [i for i in range(blocks) if f"generator.progression.{i}.conv1.0.weight" in state]
    layers = [int(key.split(".")[1]) for key in state if key.startswith("style.") and key.endswith("weight_orig")]
    if num_blocks < 2 or not layers:
        raise CheckpointError("it has not the blocks and the mapping network of a StyledGenerator")
    first = state[f"style.{min(layers)}.linear.weight_orig"]
    config: dict[str, Any] = {
        "resolution": 2 << num_blocks,
        "z_dim": first.shape[1],
        "w_dim": state[f"style.{max(layers)}.linear.weight_orig"].shape[0],
        "mapping_dim": first.shape[0],
        "label_dim": 0,
        "split_mapping": False,
        "mapping_layers": len(layers),
        "fmaps": [state[f"generator.progression.{i}.conv2.conv.weight_orig"].shape[0] for i in range(num_blocks)],
        "image_channels": state["generator.to_rgb.0.conv.bias"].shape[0],
        "fused_from": 4 << fused[0] if fused else NEVER_FUSED,
        "norm_epsilon": INSTANCE_NORM_EPSILON,
        "bias_before_blur": True,
    }
    for ours, theirs in enumerate(sorted(layers)):
        # their dense layers have no multiplier of the learning rate, ours divide by it what they store
        found.scaled(f"mapping.dense{ours}.weight", f"style.{theirs}.linear.weight_orig", 100.0)
        found.scaled(f"mapping.dense{ours}.bias", f"style.{theirs}.linear.bias", 100.0)
    for i in range(num_blocks):
        _take_block(found, i)
    found.drop(*(f"generator.{kind}.{i}." for i in range(num_blocks, blocks) for kind in ("progression", "to_rgb")))
    found.check_all_used()
    found.tensors["synthesis.lod"] = torch.zeros(())
    found.tensors["truncation.w_avg"] = mean_w(gan.Mapping(gan.Architecture(**config)), found.tensors, config["z_dim"])
    return config, found


def _take_block(found: Renaming, i: int) -> None:
    """The two layers of one side, and its pictures' colours."""
    theirs, first, second = f"generator.progression.{i}", f"synthesis.layer{2 * i}", f"synthesis.layer{2 * i + 1}"
    if i == 0:
        found.take(f"{first}.const", f"{theirs}.conv1.input")
        found.tensors[f"{first}.bias"] = torch.zeros(found.tensors[f"{first}.const"].shape[1])
    else:
        if f"{theirs}.conv1.0.weight" in found.left:  # their fused kernel is [I, O, 3, 3], and a mean of four
            found.take(f"{first}.weight", f"{theirs}.conv1.0.weight", lambda weight: weight.transpose(0, 1) / 4)
            conv, blur = "conv1.0", "conv1.1"
        else:
            found.take(f"{first}.weight", f"{theirs}.conv1.1.conv.weight_orig")
            conv, blur = "conv1.1.conv", "conv1.2"
        found.take(f"{first}.bias", f"{theirs}.{conv}.bias")
        found.take(f"{first}.blur.kernel", f"{theirs}.{blur}.weight")
        found.drop(f"{theirs}.{blur}.weight_flip")
    found.take(f"{second}.weight", f"{theirs}.conv2.conv.weight_orig")
    found.take(f"{second}.bias", f"{theirs}.conv2.conv.bias")
    noise = torch.randn(1, 1, 4 << i, 4 << i, generator=torch.Generator().manual_seed(i))
    for layer, number in ((first, 1), (second, 2)):
        found.tensors[f"{layer}.apply_noise.noise"] = noise
        found.take(f"{layer}.apply_noise.weight", f"{theirs}.noise{number}.weight_orig", _noise_weight)
        # their gain of every layer is sqrt(2), ours is 1 where no leaky ReLU follows
        found.scaled(f"{layer}.style.weight", f"{theirs}.adain{number}.style.linear.weight_orig", math.sqrt(2))
        found.take(f"{layer}.style.bias", f"{theirs}.adain{number}.style.linear.bias", _style_bias)
    found.scaled(f"synthesis.output{i}.weight", f"generator.to_rgb.{i}.conv.weight_orig", math.sqrt(2))
    found.take(f"synthesis.output{i}.bias", f"generator.to_rgb.{i}.conv.bias")


def _noise_weight(weight: Tensor) -> Tensor:
    """[C] of [1, C, 1, 1], which is equalised like a convolution of C channels."""
    return weight.flatten() * math.sqrt(2 / weight.numel())


def _style_bias(bias: Tensor) -> Tensor:
    """Their scales begin at 1, ours add it."""
    scale, shift = bias.chunk(2)
    return torch.cat([scale - 1, shift])


@torch.no_grad()
def mean_w(mapping: nn.Module, tensors: State, z_dim: int) -> Tensor:
    """The mean of w over z of N(0, I), ``[w_dim]``, of a mapping network; CheckpointError for tensors that are none."""
    own = {key.removeprefix("mapping."): value for key, value in tensors.items() if key.startswith("mapping.")}
    try:
        mapping.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"its mapping network is none: {str(error).splitlines()[-1].strip()}") from error
    w = mapping(torch.randn(NUM_AVERAGED, z_dim, generator=torch.Generator().manual_seed(0)))
    return (w.w if isinstance(w, gan.MappingOutput) else w).mean(dim=0)


# --- StyleGAN2 ---


def read_stylegan2(state: State) -> tuple[dict[str, Any], Renaming]:
    """`StyleGAN2Generator`'s arguments and tensors, from the keys of their ``Generator``.

    ``latent_avg``, which may be among them, is w_avg; else it is the mean of w over 4096 z.
    """
    found = Renaming(state)
    num_convs = sum(key.endswith("conv.modulation.weight") and key.startswith("convs.") for key in state)
    layers = sorted(int(key.split(".")[1]) for key in state if key.startswith("style.") and key.endswith(".weight"))
    sides = [4 << i for i in range(num_convs // 2 + 1)]
    if num_convs < 2 or num_convs % 2 or not layers:
        raise CheckpointError("it has not the layers and the mapping network of their Generator")
    makers = ("conv1", *(f"convs.{2 * i}" for i in range(len(sides) - 1)))
    channels = [state[f"{name}.conv.weight"].shape[1] for name in makers]
    first = state[f"style.{layers[0]}.weight"]
    config: dict[str, Any] = {
        "resolution": sides[-1],
        "z_dim": first.shape[1],
        "w_dim": state[f"style.{layers[-1]}.weight"].shape[0],
        "image_channels": state["to_rgb1.bias"].shape[1],
        "channel_base": channels[-1] * sides[-1],
        "channel_max": max(channels),
        "mapping": {"num_layers": len(layers), "layer_features": first.shape[0]},
    }
    for side, here in zip(sides, channels, strict=True):
        if here != channels_at(side, config["channel_base"], config["channel_max"]):
            raise CheckpointError(f"it has {here} feature maps at {side}x{side}, which no base and maximum give")
    for ours, theirs in enumerate(layers):
        found.take(f"mapping.fc{ours}.weight", f"style.{theirs}.weight")
        found.take(f"mapping.fc{ours}.bias", f"style.{theirs}.bias")
    found.take("synthesis.b4.const", "input.input", lambda const: const[0])
    _take_layer(found, "synthesis.b4.conv1", "conv1", "noises.noise_0")
    _take_rgb(found, "synthesis.b4", "to_rgb1")
    for i, side in enumerate(sides[1:]):
        for k in (0, 1):
            number = 2 * i + k
            _take_layer(found, f"synthesis.b{side}.conv{k}", f"convs.{number}", f"noises.noise_{number + 1}")
        _take_rgb(found, f"synthesis.b{side}", f"to_rgbs.{i}")
    if AVERAGE in found.left:
        found.take("mapping.w_avg", AVERAGE, Tensor.flatten)
    _take_filters(found)
    found.check_all_used()
    if AVERAGE not in state:
        found.tensors["mapping.w_avg"] = torch.zeros(config["w_dim"])
        mapping = styles.Mapping(config["z_dim"], 0, config["w_dim"], styles.MappingSettings(**config["mapping"]))
        found.tensors["mapping.w_avg"] = mean_w(mapping, found.tensors, config["z_dim"])
    return config, found


def _take_layer(found: Renaming, ours: str, theirs: str, noise: str) -> None:
    """A modulated convolution with noise, bias and activation. Files may lack noise: it is fixed noise of ours then."""
    found.take(f"{ours}.weight", f"{theirs}.conv.weight", lambda weight: weight[0] / math.sqrt(weight[0][0].numel()))
    found.take(f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight")
    found.take(f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias")
    found.take(f"{ours}.bias", f"{theirs}.activate.bias", Tensor.flatten)
    found.take(f"{ours}.noise_strength", f"{theirs}.noise.weight", lambda weight: weight.reshape(()))
    if noise in found.left:
        found.take(f"{ours}.noise_const", noise, lambda values: values[0, 0])
    else:
        number = int(noise.rpartition("_")[2])
        side = 4 << ((number + 1) // 2)
        found.tensors[f"{ours}.noise_const"] = torch.randn(side, side, generator=torch.Generator().manual_seed(number))


def _take_rgb(found: Renaming, ours: str, theirs: str) -> None:
    """What makes an image of the features of a side."""
    found.take(f"{ours}.torgb.weight", f"{theirs}.conv.weight", lambda weight: weight[0])
    found.take(f"{ours}.torgb.affine.weight", f"{theirs}.conv.modulation.weight")
    found.take(f"{ours}.torgb.affine.bias", f"{theirs}.conv.modulation.bias")
    found.take(f"{ours}.torgb.bias", f"{theirs}.bias", Tensor.flatten)


def _take_filters(found: Renaming) -> None:
    """Their kernels for resampling, four times the one of 1, 3, 3, 1 each; CheckpointError for another one."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    for key in [key for key in found.left if key.endswith(".kernel")]:
        kernel = found.left.pop(key)
        if kernel.shape != (4, 4) or not torch.allclose(kernel / 4, torch.outer(row, row), atol=1e-5):
            raise CheckpointError(f"{key} is another filter than 1, 3, 3, 1, with which their program resamples")
    for key in [key for key in found.tensors if key.endswith((".const", ".noise_const"))]:
        layer = key.rpartition(".")[0]
        found.tensors[f"{layer}.resample_filter"] = torch.outer(row, row)
        found.tensors[f"{layer.partition('.conv')[0]}.resample_filter"] = torch.outer(row, row)
