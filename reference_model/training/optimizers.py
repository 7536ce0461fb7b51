"""What takes the steps: AdamW, or Muon for the matrices of chosen parts and AdamW for all else."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from reference_model.training.recipe import fits

BETAS = (0.9, 0.95)


class MuonAndAdamW(torch.optim.Optimizer):
    """Two optimizers with one learning rate and one state by parameter.

    Muon turns the step of a matrix into its nearest orthogonal matrix, at the size that AdamW's steps have, so that one
    learning rate fits both. Source: Jordan et al. 2024; the size is that of arXiv:2502.16982.
    """

    def __init__(self, matrices: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> None:
        """Take matrices with Muon and all others with AdamW; the learning rate is set before every step."""
        super().__init__([*matrices, *others], {"lr": 0.0})
        self._muon = torch.optim.Muon(matrices, lr=0.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        self._adamw = _adamw(others)
        self._muon.state = self._adamw.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step with each; `closure` is not used."""
        del closure
        for optimizer in (self._muon, self._adamw):
            for group in optimizer.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            optimizer.step()


def build_optimizer(trained: Mapping[str, nn.Parameter], muon: Sequence[str]) -> torch.optim.Optimizer:
    """Return a fresh optimizer of the parameters; its learning rate is set before every step.

    Args:
        trained: All that moves, by name.
        muon: Names of modules whose matrices are taken by Muon, `*` standing for anything; none: AdamW takes all.
    """
    matrices = [
        parameter
        for name, parameter in trained.items()
        if parameter.ndim == 2 and _is_hidden(name) and any(fits(name, pattern) for pattern in muon)
    ]
    if not matrices:
        return _adamw(list(trained.values()))
    ids = {id(parameter) for parameter in matrices}
    return MuonAndAdamW(matrices, [parameter for parameter in trained.values() if id(parameter) not in ids])


def _adamw(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.0, betas=BETAS, weight_decay=0.0)


def _is_hidden(name: str) -> bool:
    """Return whether a matrix lies between hidden layers: it is no table of embeddings, no head and no router."""
    return not any(part in name for part in ("embed", "lm_head", "router"))
