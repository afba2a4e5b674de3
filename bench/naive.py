"""The yardstick: StyleGAN-1 and its pipeline as first published, with our networks' weights and nothing saved.

Float32, contiguous; upsampling by nearest neighbours before a convolution below 128 pixels and by a transposed one from
there on, halving likewise; a pass over the features for every operation; plain autograd in the updates. 20 images at a
time with float64 arrays between the stages, and one image at a time through the scorer.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ohlora_gan.models.gan import Discriminator, DiscriminatorConv, Generator, StyleBlock
from ohlora_gan.models.scorers import PropertyNet

FUSED_FROM = 128
BATCH = 20


def blurred(x: Tensor) -> Tensor:
    row = torch.tensor([1.0, 2.0, 1.0])
    return F.conv2d(x, (torch.outer(row, row) / 16).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def four_by_four(weight: Tensor) -> Tensor:
    weight = F.pad(weight, (1, 1, 1, 1))
    return weight[:, :, 1:, 1:] + weight[:, :, :-1, 1:] + weight[:, :, 1:, :-1] + weight[:, :, :-1, :-1]


def style_block(block: StyleBlock, x: Tensor | None, w: Tensor, noise: Tensor) -> Tensor:
    if x is None:
        x = block.const.repeat(len(w), 1, 1, 1)
    else:
        weight = block.weight * block.weight_scale
        if block.kind == "conv":
            x = F.conv2d(x, weight, padding=1)
        elif block.flip_kernel:
            x = blurred(F.conv_transpose2d(x, four_by_four(weight).transpose(0, 1), stride=2, padding=1))
        else:
            x = blurred(F.conv2d(F.interpolate(x, scale_factor=2), weight, padding=1))
    x = x + noise * block.apply_noise.weight.view(1, -1, 1, 1)
    x = F.leaky_relu(x + block.bias.view(1, -1, 1, 1), 0.2)
    x = x - torch.mean(x, dim=[2, 3], keepdim=True)
    x = x / torch.sqrt(torch.mean(x**2, dim=[2, 3], keepdim=True) + block.epsilon)
    style = block.style(w).view(len(w), 2, -1, 1, 1)
    return x * (style[:, 0] + 1) + style[:, 1]


def synthesize(generator: Generator, wp: Tensor, noise: list[Tensor] | None = None) -> Tensor:
    """Images [N, 3, R, R] from wp [N, L, D]."""
    synthesis, x = generator.synthesis, None
    for i in range(generator.num_layers):
        block = getattr(synthesis, f"layer{i}")
        x = style_block(block, x, wp[:, i], block.apply_noise.noise if noise is None else noise[i])
    return getattr(synthesis, f"output{len(synthesis.resolutions) - 1}")(x)


def discriminator_conv(layer: DiscriminatorConv, x: Tensor) -> Tensor:
    weight, bias = layer.weight * layer.weight_scale, layer.bias.view(1, -1, 1, 1)
    if not layer.down:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    elif x.shape[-1] >= FUSED_FROM:
        x = F.conv2d(blurred(x), four_by_four(weight) / 4, stride=2, padding=1)
    else:
        x = F.avg_pool2d(F.conv2d(blurred(x), weight, padding=1), 2)
    return F.leaky_relu(x + bias, 0.2)


def discriminate(d: Discriminator, images: Tensor) -> Tensor:
    """Scores [N, 1] of images, without a label."""
    x = discriminator_conv(d.input0, images)
    last = 2 * (len(d.resolutions) - 1)
    for i in range(last):
        x = discriminator_conv(getattr(d, f"layer{i}"), x)
    x = discriminator_conv(getattr(d, f"layer{last}"), d.minibatch_std(x))
    x = getattr(d, f"layer{last + 1}")(x)
    if d.label_dim:
        x = torch.cat([x, x.new_zeros(len(x), d.label_dim)], dim=1)
    return getattr(d, d.last_layer)(x)


def d_update(g: Generator, d: Discriminator, z: Tensor, noise: list[Tensor], reals: Tensor, r1_gamma: float) -> float:
    """The gradients of one discriminator update, with the graph through the generator."""
    fakes = synthesize(g, g.truncation(g.map(z)), noise)
    reals = reals.clone().requires_grad_(True)
    real_scores, fake_scores = discriminate(d, reals), discriminate(d, fakes)
    loss = F.softplus(fake_scores).mean() + F.softplus(-real_scores).mean()
    (grad,) = torch.autograd.grad(real_scores.sum(), reals, create_graph=True)
    loss = loss + r1_gamma / 2 * grad.square().sum(dim=(1, 2, 3)).mean()
    loss.backward()
    return loss.item()


def g_update(g: Generator, d: Discriminator, z: Tensor, noise: list[Tensor]) -> float:
    """The gradients of one generator update."""
    loss = F.softplus(-discriminate(d, synthesize(g, g.truncation(g.map(z)), noise))).mean()
    loss.backward()
    return loss.item()


@torch.no_grad()
def sample(generator: Generator, scorer: PropertyNet, z: np.ndarray) -> np.ndarray:
    """Scores [N, P] of the images of latents [N, z_dim]."""
    scores = []
    for i in range(0, len(z), BATCH):
        w = generator.map(torch.from_numpy(z[i : i + BATCH]).float()).numpy().astype(np.float64)
        wp = generator.truncation(torch.from_numpy(w).float())
        images = synthesize(generator, wp).numpy().astype(np.float64)
        scores += [scorer(torch.from_numpy(image[None]).float()).numpy() for image in images]
    return np.concatenate(scores)
