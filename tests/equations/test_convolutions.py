"""Convolutions by hand, and as products of matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

from bondhu.equations.convolutions import convolved, products


def test_convolved_adds_up_what_lies_below_the_kernel():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    kernel = jnp.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(2, 2, 1, 1)
    found = convolved(image, kernel, 2)[0, :, :, 0]
    # the upper left block is 0 1 / 4 5: 0 + 10·1 + 100·4 + 1000·5
    np.testing.assert_allclose(found, [[5410.0, 7632.0], [14298.0, 16520.0]])


@pytest.mark.parametrize(("width", "step", "side"), [(8, 4, 21), (4, 2, 9), (3, 1, 7)])
def test_products_are_the_sums_over_every_window(width, step, side):
    rng = np.random.default_rng(0)
    images, kernels = rng.normal(size=(2, side, side, 3)), rng.normal(size=(width, width, 3, 5))
    out = 1 + (side - width) // step
    expected = np.empty((2, out, out, 5))
    for row in range(out):
        for column in range(out):
            window = images[:, row * step : row * step + width, column * step : column * step + width]
            expected[:, row, column] = np.einsum("tijc,ijco->to", window, kernels)
    found = products(jnp.asarray(images, jnp.float32), jnp.asarray(kernels, jnp.float32), step)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
