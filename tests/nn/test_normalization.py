import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from deepchem_crystalssl.nn.normalization import BatchRenorm


@pytest.mark.parametrize("shape", [(64, 5), (16, 5, 7)])
def test_training_and_use_agree_once_the_statistics_have_settled(shape):
    torch.manual_seed(0)
    norm = BatchRenorm(5)
    for _ in range(200):
        norm(3.0 + 2.0 * torch.randn(shape))
    x = 3.0 + 2.0 * torch.randn(shape)
    settled = {key: value.clone() for key, value in norm.state_dict().items()}
    trained = norm(x)
    after = {key: value.clone() for key, value in norm.state_dict().items()}
    norm.eval()
    assert torch.allclose(trained, norm(x), atol=1e-5)  # by the statistics that include x
    assert not torch.equal(settled["mean"], after["mean"])


@given(st.integers(0, 10**6))
def test_first_batch_and_gradient_are_those_of_batch_norm(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(9, 4, generator=generator, requires_grad=True)
    direction = torch.randn(9, 4, generator=generator)
    outputs, gradients = [], []
    for norm in (BatchRenorm(4), nn.BatchNorm1d(4)):
        y = norm(x)
        outputs.append(y)
        gradients.append(torch.autograd.grad((y * direction).sum(), x)[0])
    assert torch.allclose(*outputs, atol=1e-5) and torch.allclose(*gradients, atol=1e-5)


def test_frozen_or_alone_the_statistics_stay():
    norm = BatchRenorm(3)
    norm(torch.randn(8, 3))
    before = norm.mean.clone()
    norm(torch.randn(1, 3))
    norm.requires_grad_(False)
    norm(torch.randn(8, 3))
    assert torch.equal(norm.mean, before)


def test_a_drift_is_clipped():
    norm = BatchRenorm(1)
    norm(torch.randn(100, 1))
    norm.momentum = 0.0
    norm.n_rows += 10**12
    assert norm(1000.0 + torch.randn(100, 1)).abs().max() < 3 * 4 + 5


def test_statistics_are_means_over_rows_that_fade():
    """A short last batch must not take over: of an epoch's last 32 crystals after batches of 256, say."""
    torch.manual_seed(0)
    norm, sizes = BatchRenorm(2, momentum=0.3), (64, 64, 64, 4)
    batches = [torch.randn(n, 2) + k for k, n in enumerate(sizes)]
    for x in batches:
        norm(x)
    weights = torch.tensor([n * 0.7 ** (len(sizes) - 1 - k) for k, n in enumerate(sizes)])
    means = torch.stack([x.mean(0) for x in batches])
    assert torch.allclose(norm.mean, (weights[:, None] * means).sum(0) / weights.sum(), atol=1e-5)
    assert weights[-1] / weights.sum() < 0.05
