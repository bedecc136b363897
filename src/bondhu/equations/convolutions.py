"""Convolutions of images, in JAX: on a processor as products of matrices, which its loops compute ten times as fast."""

from __future__ import annotations

import jax
from jax import Array


def convolved(images: Array, kernels: Array, step: int) -> Array:
    """Σ_ij x[h·step + i, w·step + j]·K[i, j] without padding: `[T, H, W, C]`, `[k, k, C, O]` to `[T, H', W', O]`.

    LeCun et al. 1989. A compiled loop on a processor has no fast convolution, so there it becomes `products`.
    """
    if jax.default_backend() == "cpu" and kernels.shape[0] % step == 0:
        return products(images, kernels, step)
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernels, (step, step), "VALID", dimension_numbers=layout)


def products(images: Array, kernels: Array, step: int) -> Array:
    """The same where kernels are whole steps wide: blocks of pixels, a step wide, times those of the kernels."""
    width, _, channels, outputs = kernels.shape
    blocks, pixels = width // step, step * step * channels
    high, wide = (1 + (side - width) // step for side in images.shape[1:3])
    rows, columns = high + blocks - 1, wide + blocks - 1
    cut = images[:, : rows * step, : columns * step].reshape(len(images), rows, step, columns, step, channels)
    seen = cut.transpose(0, 1, 3, 2, 4, 5).reshape(len(images), rows, columns, pixels)
    parts = kernels.reshape(blocks, step, blocks, step, channels, outputs).transpose(0, 2, 1, 3, 4, 5)
    weight = parts.reshape(blocks, blocks, pixels, outputs)
    shifts = [(down, right) for down in range(blocks) for right in range(blocks)]
    return sum(seen[:, down : down + high, right : right + wide] @ weight[down, right] for down, right in shifts)  # type: ignore[return-value]  # there is at least one
