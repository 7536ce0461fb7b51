"""A feed-forward layer of several experts, of which a router picks one or two for every token.

Shape suffixes: B sequences, T positions, N = B * T tokens, K tokens of one expert, D width, E experts.
"""

import copy
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.config import MoeConfig


class Routing(NamedTuple):
    """What a layer tells about one forward pass.

    Attributes:
        balance: The balance term, a scalar with gradient: 1 if the tokens are spread evenly.
        tokens_E: Tokens whose first choice each expert was, before any was dropped.
        dropped: Scalar, choices that found their expert full.
    """

    balance: Tensor
    tokens_E: Tensor
    dropped: Tensor


class Gates(NamedTuple):
    """The router's decision: `weight_NE` is 0 wherever a token does not go to an expert."""

    weight_NE: Tensor
    kept_NE: Tensor
    routing: Routing


class Router(nn.Linear):
    """Probabilities of the experts, computed in single precision whatever the precision around it."""

    def __init__(self, *, width: int, experts: int) -> None:
        """Build it without bias."""
        super().__init__(width, experts, bias=False)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Return (N, E), float32, rows of sum 1."""
        with torch.autocast(device_type=x_ND.device.type, enabled=False):
            return F.linear(x_ND.float(), self.weight.float()).softmax(dim=-1)


class MoeFeedForward(nn.Module):
    """Top-k experts of limited capacity.

    The gate weight multiplies an expert's output once. A token that finds its expert full gets zeros from it, so that
    only the residual path carries it on. Formulas: DeepSpeed's top-1 gate, which MedPLIB is trained with.
    """

    def __init__(
        self,
        *,
        router: Router,
        experts: Sequence[nn.Module],
        top_k: int,
        capacity_train: float,
        capacity_evaluation: float,
        min_capacity: int,
    ) -> None:
        """Put built experts behind a router.

        Args:
            router: One probability per expert.
            experts: Each from (K, D) to (K, D).
            top_k: Experts per token; with more than one, the weights of those that took the token are scaled to sum 1.
            capacity_train: Share of an even split of the tokens that an expert takes in training.
            capacity_evaluation: The same in evaluation.
            min_capacity: Tokens an expert takes in any case.
        """
        super().__init__()
        self.router = router
        self.experts = nn.ModuleList(experts)
        self.top_k = top_k
        self.capacity_train = capacity_train
        self.capacity_evaluation = capacity_evaluation
        self.min_capacity = min_capacity

    def forward(
        self, x_BTD: Tensor, *, token_mask_BT: Tensor | None = None, priority_BT: Tensor | None = None
    ) -> tuple[Tensor, Routing]:
        """Send every token through its expert.

        Args:
            x_BTD: Input.
            token_mask_BT: False for padding, which goes nowhere, uses no capacity and is not counted. None: no padding.
            priority_BT: Numbers in [0, 1) that decide who stays when an expert is full, the largest do. Drawn outside
                so that a recomputation for the backward pass decides alike. None: the earliest tokens stay.
        Returns:
            Output (B, T, D), and what happened.
        """
        x_ND = x_BTD.flatten(0, 1)
        gates = self.gate(x_ND, _flat(token_mask_BT), _flat(priority_BT))
        y_ND = torch.zeros_like(x_ND)
        for index, expert in enumerate(self.experts):
            token_K = gates.kept_NE[:, index].nonzero().squeeze(1)
            y_KD = expert(x_ND[token_K]) * gates.weight_NE[token_K, index, None]
            y_ND.index_add_(0, token_K, y_KD.to(y_ND.dtype))
        return y_ND.view_as(x_BTD), gates.routing

    def gate(self, x_ND: Tensor, token_mask_N: Tensor | None = None, priority_N: Tensor | None = None) -> Gates:
        """Return the decision for every token."""
        mask_N = torch.ones(len(x_ND), dtype=torch.bool, device=x_ND.device) if token_mask_N is None else token_mask_N
        probability_NE = self.router(x_ND)
        chosen_NE = choose(probability_NE, self.top_k) & mask_N[:, None]
        tokens = len(x_ND) if token_mask_N is None else int(mask_N.sum())
        kept_NE = keep(chosen_NE, self.capacity(tokens), priority_N)
        weight_NE = probability_NE * kept_NE
        if self.top_k > 1:
            weight_NE = weight_NE / weight_NE.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weight_NE.dtype).eps)
        first_NE = choose(probability_NE, 1) & mask_N[:, None]
        routing = Routing(
            balance=balance(probability_NE, first_NE, mask_N),
            tokens_E=first_NE.sum(dim=0),
            dropped=chosen_NE.sum() - kept_NE.sum(),
        )
        return Gates(weight_NE, kept_NE, routing)

    def capacity(self, tokens: int) -> int:
        """Return how many of `tokens` each expert takes."""
        factor = self.capacity_train if self.training else self.capacity_evaluation
        return max(self.min_capacity, ceil(tokens / len(self.experts) * (factor * self.top_k)))

    @property
    def may_drop(self) -> bool:
        """Whether an expert can be full."""
        factor = self.capacity_train if self.training else self.capacity_evaluation
        return factor * self.top_k < len(self.experts)


def choose(probability_NE: Tensor, top_k: int) -> Tensor:
    """Return boolean (N, E), True for the `top_k` likeliest experts of each token, the first of equal ones."""
    index_NK = probability_NE.sort(dim=1, descending=True, stable=True).indices[:, :top_k]
    return torch.zeros_like(probability_NE, dtype=torch.bool).scatter(1, index_NK, True)


def keep(chosen_NE: Tensor, capacity: int, priority_N: Tensor | None) -> Tensor:
    """Return boolean (N, E): of the tokens that chose an expert, the `capacity` ones of highest priority."""
    if capacity >= len(chosen_NE):
        return chosen_NE
    if priority_N is None:
        priority_N = torch.arange(len(chosen_NE), 0, -1, device=chosen_NE.device, dtype=torch.float32)
    order_NE = priority_N[:, None].masked_fill(~chosen_NE, -1.0)
    kept_NE = torch.zeros_like(chosen_NE).scatter(0, order_NE.topk(capacity, dim=0).indices, True)
    return kept_NE & chosen_NE


def balance(probability_NE: Tensor, first_NE: Tensor, mask_N: Tensor) -> Tensor:
    """Return E * sum over experts of (mean probability * share of tokens), over the tokens in `mask_N`."""
    tokens = mask_N.sum().clamp_min(1)
    mean_E = (probability_NE * mask_N[:, None]).sum(dim=0) / tokens
    share_E = first_NE.sum(dim=0) / tokens
    return (mean_E * share_E).sum() * probability_NE.shape[1]


def upcycle(denses: Sequence[nn.Module], *, width: int, config: MoeConfig) -> MoeFeedForward:
    """Return a layer whose experts are copies of dense feed-forward parts, behind a fresh router.

    Args:
        denses: One per expert; MedPLIB's stage IV takes that of stage III (grounding), then that of stage II.
        width: D.
        config: How they are picked.
    """
    return MoeFeedForward(
        router=Router(width=width, experts=len(denses)),
        experts=[copy.deepcopy(dense) for dense in denses],
        top_k=config.top_k,
        capacity_train=config.capacity_train,
        capacity_evaluation=config.capacity_evaluation,
        min_capacity=config.min_capacity,
    )


def _flat(values_BT: Tensor | None) -> Tensor | None:
    return None if values_BT is None else values_BT.flatten()
