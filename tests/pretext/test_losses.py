import numpy as np
import torch

from deepchem_crystalssl.pretext.losses import bidirectional_triplet_loss


def expected_loss(x, y, margin, same):
    """Mean over the draws, anchor by anchor: what the sampled loss is an estimate of."""
    distance = np.linalg.norm(x[:, None] - y[None], axis=-1)
    total = []
    for d, s in ((distance, same), (distance.T, same.T)):
        terms = []
        for i in range(len(d)):
            negatives = [j for j in range(len(d)) if not s[i, j] and d[i, j] < d[i, i] + margin]
            if negatives:
                terms.append(np.mean([d[i, i] - d[i, j] + margin for j in negatives]))
        total.append(np.mean(terms) if terms else 0.0)
    return np.mean(total)


def test_mean_of_draws_is_the_formula():
    torch.manual_seed(0)
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    same = torch.eye(6, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    generator = torch.Generator().manual_seed(1)
    draws = [bidirectional_triplet_loss(x, y, 1.0, same, generator).item() for _ in range(4000)]
    assert abs(np.mean(draws) - expected_loss(x.numpy(), y.numpy(), 1.0, same.numpy())) < 0.03


def test_symmetric_in_the_two_views():
    torch.manual_seed(0)
    x, y = torch.randn(2, 3), torch.randn(2, 3)  # one possible negative each: nothing is left to chance
    assert torch.allclose(bidirectional_triplet_loss(x, y), bidirectional_triplet_loss(y, x))


def test_no_valid_negative_is_zero_with_zero_gradient():
    x = (torch.eye(4) * 100).requires_grad_()
    loss = bidirectional_triplet_loss(x, x.detach())
    loss.backward()
    assert loss == 0 and torch.equal(x.grad, torch.zeros_like(x))
    one = torch.zeros(1, 3, requires_grad=True)
    assert bidirectional_triplet_loss(one, one) == 0


def test_duplicates_are_no_negatives():
    x = torch.zeros(3, 2, requires_grad=True)
    assert bidirectional_triplet_loss(x, x, same=torch.ones(3, 3, dtype=torch.bool)) == 0
    assert bidirectional_triplet_loss(x, x) == 1  # without being told, they push against each other


def test_gradient_is_finite_where_views_coincide():
    x = torch.ones(4, 3, requires_grad=True)
    bidirectional_triplet_loss(x, x).backward()
    assert torch.isfinite(x.grad).all()


def test_descends():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 4, requires_grad=True), torch.randn(16, 4, requires_grad=True)
    optimizer = torch.optim.Adam([x, y], 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = bidirectional_triplet_loss(x, y, generator=generator)
        loss.backward()
        optimizer.step()
    assert loss < 0.1 and torch.cdist(x, y).argmin(1).tolist() == list(range(16))
