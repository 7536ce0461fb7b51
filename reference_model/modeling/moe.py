"""A feed-forward layer of several experts, of which a router picks one or two for every token.

Shape suffixes: B sequences, T positions, N = B * T tokens, P pairs of an expert and a token it takes, K tokens of one
expert, D width, E experts.
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
    """Where the tokens of one forward pass through a layer went.

    Attributes:
        balance: float32 scalar with gradient, the balance term: 1 if the tokens are spread evenly.
        tokens_E: int64, the tokens whose first choice each expert was, before any was dropped.
        dropped: int64 scalar, the choices that found their expert full.
    """

    balance: Tensor
    tokens_E: Tensor
    dropped: Tensor


class Gates(NamedTuple):
    """The router's decision: `weight_NE`, float32, is 0 wherever the boolean `kept_NE` is False."""

    weight_NE: Tensor
    kept_NE: Tensor
    routing: Routing


class Router(nn.Linear):
    """Probabilities of the experts, computed in single precision whatever the precision around it."""

    def __init__(self, *, width: int, experts: int) -> None:
        """Build it without bias."""
        super().__init__(width, experts, bias=False)

    def forward(self, x_ND: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, E), each row of sum 1."""
        # As in DeepSpeed: in 16 bits, ties and rounding would send tokens to other experts than in single precision.
        with torch.autocast(device_type=x_ND.device.type, enabled=False):
            logits_NE = F.linear(x_ND.float(), self.weight.float())
            return logits_NE.t().softmax(dim=0).t()  # on a CPU, softmax over dim 0 takes a seventh of the time


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
            router: Computes one probability per expert.
            experts: Modules that map (K, D) to (K, D).
            top_k: Experts per token; with more than one, the weights of the experts that took the token sum to 1.
            capacity_train: Most tokens per expert in training, as a multiple of an even split; 1.5 in MedPLIB.
            capacity_evaluation: The same in evaluation; 2 in MedPLIB, at which two experts never drop a token.
            min_capacity: Least number of tokens that an expert has room for.
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
        """Send every token through its experts.

        Args:
            x_BTD: Floating point, the input.
            token_mask_BT: Boolean, False for padding, which no expert sees, takes or counts. None: there is no padding.
            priority_BT: float32 in [0, 1); a full expert keeps the tokens with the largest numbers. The caller draws
                them, so that recomputing the layer in the backward pass keeps the same tokens. None: the earliest
                tokens stay.

        Returns:
            The output (B, T, D), in the dtype of the input, and where the tokens went.
        """
        x_ND = x_BTD.flatten(0, 1)
        gates = self.gate(x_ND, _flat(token_mask_BT), _flat(priority_BT))
        return self._answers(x_ND, gates).view_as(x_BTD), gates.routing

    def output(self, x_BTD: Tensor, token_mask_BT: Tensor | None = None) -> Tensor:
        """Return the output of `forward` alone, (B, T, D), for generation.

        A step of generation reads a token a row: its time goes by the number of operations, of which this takes half.

        Args:
            x_BTD, token_mask_BT: As for `forward`.
        """
        if self.top_k > 1 or self.may_drop:
            y_BTD: Tensor = self(x_BTD, token_mask_BT=token_mask_BT)[0]
            return y_BTD
        x_ND = x_BTD.flatten(0, 1)
        weight_N, expert_N = self.router(x_ND).max(dim=1)
        if token_mask_BT is not None:
            expert_N = expert_N.masked_fill(~token_mask_BT.flatten(), len(self.experts))
        order_N = expert_N.argsort(stable=True)
        sizes = expert_N.bincount(minlength=len(self.experts) + 1).tolist()
        parts = zip(self.experts, torch.split(x_ND.index_select(0, order_N), sizes), strict=False)
        y_KDs = [expert(x_KD).to(x_ND.dtype) for expert, x_KD in parts]
        y_ND = torch.cat([*y_KDs, x_ND.new_zeros(sizes[-1], x_ND.shape[1])])
        y_ND *= weight_N.to(x_ND.dtype).index_select(0, order_N)[:, None]
        return torch.empty_like(x_ND).index_copy_(0, order_N, y_ND).view_as(x_BTD)

    def _answers(self, x_ND: Tensor, gates: Gates) -> Tensor:
        """Return the sum of the weighted outputs of the experts, (N, D): zeros for a token that no expert takes.

        As in DeepSpeed, the weights are multiplied in the precision of the input.
        """
        token_P = gates.kept_NE.t().nonzero()[:, 1]  # sorted by expert
        sizes = gates.kept_NE.sum(dim=0).tolist()
        parts = zip(
            self.experts,
            gates.weight_NE.to(x_ND.dtype).unbind(dim=1),
            torch.split(token_P, sizes),
            torch.split(x_ND.index_select(0, token_P), sizes),
            strict=True,
        )
        y_KDs = [
            (expert(x_KD) * weight_N.index_select(0, token_K)[:, None]).to(x_ND.dtype)
            for expert, weight_N, token_K, x_KD in parts
        ]
        if self.top_k > 1:
            return torch.zeros_like(x_ND).index_add_(0, token_P, torch.cat(y_KDs))
        # A token is in at most one pair: gathering its row costs less than adding all rows to zeros.
        y_PD = torch.cat([*y_KDs, x_ND.new_zeros(1, x_ND.shape[1])])
        pair_P = torch.arange(len(token_P), device=x_ND.device)
        pair_N = pair_P.new_full((len(x_ND),), len(token_P)).index_copy_(0, token_P, pair_P)
        return y_PD.index_select(0, pair_N)

    def gate(self, x_ND: Tensor, token_mask_N: Tensor | None = None, priority_N: Tensor | None = None) -> Gates:
        """Return the decision for every token.

        Args:
            x_ND: Floating point.
            token_mask_N: Boolean, False for padding; None: there is no padding.
            priority_N: See `forward`.
        """
        probability_NE = self.router(x_ND)
        chosen_NE = choose(probability_NE, self.top_k, token_mask_N)
        tokens = len(x_ND) if token_mask_N is None else int(token_mask_N.sum())
        kept_NE = keep(chosen_NE, self.capacity(tokens), priority_N)
        weight_NE = probability_NE * kept_NE
        if self.top_k > 1:
            weight_NE = weight_NE / weight_NE.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weight_NE.dtype).eps)
        first_NE = chosen_NE if self.top_k == 1 else choose(probability_NE, 1, token_mask_N)
        tokens_E = first_NE.sum(dim=0)
        routing = Routing(
            balance=balance(probability_NE, tokens_E, token_mask_N),
            tokens_E=tokens_E,
            dropped=chosen_NE.sum() - kept_NE.sum(),
        )
        return Gates(weight_NE, kept_NE, routing)

    def capacity(self, tokens: int) -> int:
        """Return how many of `tokens` each expert has room for."""
        factor = self.capacity_train if self.training else self.capacity_evaluation
        return max(self.min_capacity, ceil(tokens / len(self.experts) * (factor * self.top_k)))

    @property
    def may_drop(self) -> bool:
        """Whether an expert can be full."""
        factor = self.capacity_train if self.training else self.capacity_evaluation
        return factor * self.top_k < len(self.experts)


def choose(probability_NE: Tensor, top_k: int, token_mask_N: Tensor | None = None) -> Tensor:
    """Return boolean (N, E), True for the `top_k` likeliest experts of each token; of equal ones, the first.

    Args:
        probability_NE: float32, the output of the router.
        top_k: Experts per token, at least 1.
        token_mask_N: Boolean; tokens for which it is False choose none. None: all choose.
    """
    if top_k == 1:  # same result as below, in a tenth of the time
        experts_E = torch.arange(probability_NE.shape[1], device=probability_NE.device)
        chosen_NE = probability_NE.max(dim=1, keepdim=True).indices == experts_E
    else:
        index_NK = probability_NE.sort(dim=1, descending=True, stable=True).indices[:, :top_k]
        chosen_NE = torch.zeros_like(probability_NE, dtype=torch.bool).scatter(1, index_NK, True)
    return chosen_NE if token_mask_N is None else chosen_NE & token_mask_N[:, None]


def keep(chosen_NE: Tensor, capacity: int, priority_N: Tensor | None) -> Tensor:
    """Return boolean (N, E): of the tokens that chose an expert, the `capacity` ones of highest priority.

    Args:
        chosen_NE: Boolean, see `choose`.
        capacity: Tokens that each expert takes.
        priority_N: float32 in [0, 1); None: the earliest tokens have the highest.
    """
    if capacity >= len(chosen_NE):
        return chosen_NE
    if priority_N is None:
        priority_N = torch.arange(len(chosen_NE), 0, -1, device=chosen_NE.device, dtype=torch.float32)
    order_NE = priority_N[:, None].masked_fill(~chosen_NE, -1.0)
    kept_NE = torch.zeros_like(chosen_NE).scatter(0, order_NE.topk(capacity, dim=0).indices, True)
    return kept_NE & chosen_NE


def balance(probability_NE: Tensor, tokens_E: Tensor, token_mask_N: Tensor | None = None) -> Tensor:
    """Return E * sum over experts of (mean probability * share of tokens), over the tokens in `token_mask_N`.

    Args:
        probability_NE: float32, the output of the router.
        tokens_E: int64, the tokens whose first choice each expert is.
        token_mask_N: Boolean, False for tokens that do not count; None: all do.

    Returns:
        float32 scalar. Source: DeepSpeed's `l_aux`, after arXiv:2006.16668.
    """
    if token_mask_N is not None:
        probability_NE = probability_NE * token_mask_N[:, None]
    tokens = tokens_E.sum().clamp_min(1)  # every token has one first choice
    return (probability_NE.sum(dim=0) * tokens_E).sum() * (probability_NE.shape[1] / tokens**2)


def upcycle(denses: Sequence[nn.Module], *, width: int, config: MoeConfig) -> MoeFeedForward:
    """Return a layer whose experts are copies of dense feed-forward parts, behind a fresh router.

    Args:
        denses: One part per expert; MedPLIB's stage IV takes those of stage III (grounding) and stage II (text).
        width: D.
        config: The number of experts per token, and their capacities.
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
