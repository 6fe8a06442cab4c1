"""Where training ends on a linear task: solved, not iterated.

Gradient descent with small steps, of which every parameter takes its share, follows
``dw/dt = -S grad(w)`` with S the diagonal matrix of the shares. In ``z = S^(-1/2) (w - start)``
that is plain gradient descent from 0, so it ends at the stationary point with the smallest norm
of z: where there are many solutions, the shares decide which one is the nearest. All tensors are
of L learners, in float64; shares lie in [0, 1], and a share of 0 leaves a parameter where it is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

RANK_TOLERANCE = 1e-11
"""Singular values smaller than this part of the largest one count as zero."""

RESIDUAL_TOLERANCE = 1e-8
"""Of the size of what cancels in them, residuals larger than this part are not rounding."""


def least_squares(inputs: Tensor, targets: Tensor, start: Tensor, share: Tensor) -> Tensor:
    """Return where descent on the squared error ends, shape (L, parameters).

    Args:
        inputs: shape (L, samples, parameters), of full rank.
        targets: shape (L, samples).
        start: where training begins, shape (L, parameters).
        share: shape (L, parameters).
    """
    scale = share.sqrt()
    missing = targets - (inputs @ start[..., None])[..., 0]
    if bool((share > 0).all()):
        return start + scale * _shortest(inputs * scale[:, None], missing)
    solution = start.clone()
    # Parameters that stay leave the problem; which ones do may depend on the learner.
    for moving in torch.unique(share > 0, dim=0):
        columns = moving.nonzero()[:, 0]
        rows = ((share > 0) == moving).all(dim=1).nonzero()[:, 0]
        if columns.numel() == 0:
            continue
        factor = scale[rows][:, columns]
        matrix = inputs.index_select(2, columns).index_select(0, rows) * factor[:, None]
        place = (rows[:, None], columns)
        solution[place] = start[place] + factor * _shortest(matrix, missing[rows])
    return solution


def _shortest(matrix: Tensor, targets: Tensor) -> Tensor:
    """Return the least-squares solutions of minimum norm, by an orthogonal factorisation.

    For fewer samples than parameters as for more, the condition number is not squared, as it
    would be in a Gram matrix.
    """
    solution: Tensor = torch.linalg.lstsq(matrix, targets[..., None], driver="gels").solution
    return solution[..., 0]


def stationary_point(
    slope: Callable[[Tensor], Tensor], start: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Return where descent along an affine slope ends, and for which learners it does end.

    In z the slope is ``M z + h``. Descent from 0 stays in the range of M, and ends there if
    nothing of h is left outside of it and no eigenvalue within it has a real part <= 0. For
    symmetric M that is the Newton step of minimum norm; M need not be symmetric.

    Args:
        slope: maps weights to the gradients that training follows, both of shape
            (points, L, parameters). M is found by evaluating it, because a strategy's part in
            it need not be differentiable.
        start: where training begins, shape (L, parameters).
        share: shape (L, parameters).

    Returns:
        The solutions, shape (L, parameters), and a bool tensor, shape (L,): false where the
        slope is not affine or training would not converge.
    """
    scale = share.sqrt()

    def scaled(z: Tensor) -> Tensor:
        return scale * slope(start + scale * z)

    directions = torch.eye(start.shape[1], dtype=start.dtype)
    (offset,) = scaled(torch.zeros_like(start)[None])
    matrix = (scaled(directions[:, None]) - offset).permute(1, 2, 0)
    basis, sizes, _ = torch.linalg.svd(matrix)
    inside = sizes > RANK_TOLERANCE * sizes[:, :1]
    # Coordinates outside of the range are kept at 0 by rows of the identity matrix.
    within = torch.where(inside[..., None], basis.mT @ matrix @ basis, 0.0)
    within = within + torch.diag_embed((~inside).to(start.dtype))
    goal = torch.where(inside, (basis.mT @ offset[..., None])[..., 0], 0.0)
    step, _ = torch.linalg.solve_ex(within, -goal[..., None])
    z = (basis @ step)[..., 0]
    ends = (torch.linalg.eigvals(within).real > 0).all(dim=1)
    size = offset.norm(dim=1) + (matrix.abs() @ z.abs()[..., None])[..., 0].norm(dim=1)
    # An affine slope is 0 at the solution and twice the offset at the opposite point.
    found, expected = scaled(torch.stack([z, -z])), torch.stack([0 * offset, 2 * offset])
    ends = ends & ((found - expected).norm(dim=2) <= RESIDUAL_TOLERANCE * size).all(dim=0)
    return start + scale * z, ends
