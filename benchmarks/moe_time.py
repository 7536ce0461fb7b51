"""Time of a feed-forward layer of two experts, of which every token takes one, against one dense feed-forward layer.

Both get the same tokens and take turns in every repeat; the fastest repeat of each counts. Three other ways to
compute the same layer follow for comparison: GShard's products with a tensor of slots, both experts on every token,
and a loop over the experts without a capacity. The widths of the 7B preset take minutes on a CPU: `--large`.

    python benchmarks/moe_time.py [--tokens 4096] [--repeats 20] [--large]

Shape suffixes: as in `reference_model.modeling.moe`, and C slots of an expert.
"""

# ruff: noqa: N803, N806, N815 - names of tensors end in their axes

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from reference_model.config import ModelConfig
from reference_model.modeling.build import cast
from reference_model.modeling.moe import MoeFeedForward, choose, upcycle
from reference_model.preset_files import load_preset

SMALL, LARGE = "medplib-tiny", "medplib-7b"
# The target is set for 4,096 tokens or more.
TOKENS = 4096
TARGET = 1.10
# Repeats of the layers that are there for comparison only: GShard's slots take 20 to 70 times the dense layer.
OTHER_REPEATS = 5
# Largest difference of two ways to compute a layer, as a share of its largest output. They add in different orders, and
# bfloat16 keeps 8 significant bits: one rounding is off by up to 0.4 %.
AGREEMENT = {torch.float32: 1e-5, torch.bfloat16: 2e-2}

Layer = Callable[[Tensor], Tensor]


class MoeCase(NamedTuple):
    """Device, precision and widths at which a layer is timed."""

    device: str
    dtype: torch.dtype
    preset: str

    def __str__(self) -> str:
        language = load_preset(self.preset).language
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.device}, {dtype}, width {language.width}, inside {language.ffn_width}"


@dataclass(frozen=True)
class Contest:
    """The layers that take turns, the dense one and the one of experts, and their input, (1, tokens, D)."""

    dense: nn.Module
    experts: MoeFeedForward
    x_BTD: Tensor

    def ours(self, x_BTD: Tensor) -> Tensor:
        """Return the output of the layer of experts."""
        y_BTD: Tensor = self.experts(x_BTD)[0]
        return y_BTD

    def others(self) -> dict[str, Layer]:
        """Return the other ways to compute the layer of experts, by name."""
        return {
            "loop without capacity": partial(expert_loop, self.experts),
            "both experts": partial(both_experts, self.experts),
            "GShard's slots": partial(dispatched, self.experts),
        }


def contest(case: MoeCase, tokens: int) -> Contest:
    """Return the layers of a case with random weights, and random tokens."""
    torch.manual_seed(0)
    config = load_preset(case.preset)
    with torch.device(case.device):
        # In evaluation the capacity factor is 2.0: two experts drop no token, so all ways give the same output.
        denses = [dense_layer(config).to(case.dtype) for _ in range(config.moe.experts)]
        experts = upcycle(denses, width=config.language.width, config=config.moe).eval()
        x_BTD = torch.randn(1, tokens, config.language.width).to(case.dtype)
    # As in the model: the router stays in single precision, because in 16 bits it would choose other experts.
    cast(experts, case.dtype)
    return Contest(dense=denses[0], experts=experts, x_BTD=x_BTD)


def dense_layer(config: ModelConfig) -> nn.Module:
    """Return LLaMA's feed-forward part at the widths of a preset."""
    widths = LlamaConfig(hidden_size=config.language.width, intermediate_size=config.language.ffn_width)
    return LlamaMLP(widths)  # type: ignore[no-untyped-call]


def expert_loop(layer: MoeFeedForward, x_BTD: Tensor) -> Tensor:
    """Return the layer's output as it is most often computed: each expert on its tokens, without a limit."""
    x_ND = x_BTD.flatten(0, 1)
    weight_N, chosen_N = layer.router(x_ND).max(dim=1)
    y_ND = torch.zeros_like(x_ND)
    for number, expert in enumerate(layer.experts):
        token_K = (chosen_N == number).nonzero().squeeze(1)
        y_ND[token_K] = (expert(x_ND[token_K]) * weight_N[token_K, None]).to(y_ND.dtype)
    return y_ND.view_as(x_BTD)


def both_experts(layer: MoeFeedForward, x_BTD: Tensor) -> Tensor:
    """Return the layer's output from all experts on all tokens; the weights keep one expert per token."""
    x_ND = x_BTD.flatten(0, 1)
    weight_NE = top_weights(layer, x_ND)
    y_NDs = [expert(x_ND) * weight_NE[:, number, None] for number, expert in enumerate(layer.experts)]
    return torch.stack(y_NDs).sum(dim=0).view_as(x_BTD)


def dispatched(layer: MoeFeedForward, x_BTD: Tensor) -> Tensor:
    """Return the layer's output by products with a tensor (N, E, C) that says which slot of which expert takes a token.

    Source: Lepikhin et al., GShard, arXiv:2006.16668.
    """
    x_ND = x_BTD.flatten(0, 1)
    weight_NE = top_weights(layer, x_ND)
    chosen_NE = weight_NE > 0
    slots_C = torch.arange(layer.capacity(len(x_ND)), device=x_ND.device)
    slot_NE = (chosen_NE.cumsum(dim=0) - 1).masked_fill(~chosen_NE, -1)
    taken_NEC = (slot_NE[:, :, None] == slots_C).to(x_ND.dtype)
    x_ECD = torch.einsum("nec,nd->ecd", taken_NEC, x_ND)
    y_ECD = torch.stack([expert(x_CD) for expert, x_CD in zip(layer.experts, x_ECD, strict=True)])
    return torch.einsum("nec,ecd->nd", taken_NEC * weight_NE[:, :, None], y_ECD).view_as(x_BTD)


def top_weights(layer: MoeFeedForward, x_ND: Tensor) -> Tensor:
    """Return (N, E): the probability of the likeliest expert, 0 for the others, in the precision of the input."""
    probability_NE: Tensor = layer.router(x_ND)
    return (probability_NE * choose(probability_NE, 1)).to(x_ND.dtype)


def check_agreement(found: Contest) -> None:
    """Compare the outputs of all ways to compute the layer of experts, so that only equal work is timed.

    Raises:
        AssertionError: One differs.
    """
    expected = found.ours(found.x_BTD)
    allowed = AGREEMENT[expected.dtype] * float(expected.abs().max())
    for other in found.others().values():
        torch.testing.assert_close(other(found.x_BTD), expected, atol=allowed, rtol=0)


def fastest(layers: Sequence[Layer], x_BTD: Tensor, repeats: int) -> list[float]:
    """Return the fewest seconds of each layer, all taking turns in every repeat."""
    # Other work only adds time, so the minimum is nearest to the cost; a slow spell hits all layers of a turn alike.
    turns = [[seconds(layer, x_BTD) for layer in layers] for _ in range(repeats)]
    return [min(column) for column in zip(*turns, strict=True)]


def seconds(layer: Layer, x_BTD: Tensor) -> float:
    """Return the seconds of one pass."""
    # A GPU works behind the caller: without waiting, the time of the launch would be measured.
    wait_for(x_BTD)
    began = time.perf_counter()
    layer(x_BTD)
    wait_for(x_BTD)
    return time.perf_counter() - began


def wait_for(x_BTD: Tensor) -> None:
    """Wait until a GPU has finished its queue; a CPU has none."""
    if x_BTD.is_cuda:
        torch.cuda.synchronize(x_BTD.device)


def table(case: MoeCase, tokens: int, repeats: int) -> Iterator[str]:
    """Yield the lines of a case."""
    found = contest(case, tokens)
    check_agreement(found)
    dense, ours = fastest([found.dense, found.ours], found.x_BTD, repeats)
    met = "met" if ours <= TARGET * dense else "MISSED"
    yield str(case)
    yield f"  {'one dense layer':<24}{1e3 * dense:>10.2f}"
    yield f"  {'one of two experts':<24}{1e3 * ours:>10.2f}{ours / dense:>8.2f}x  target {TARGET:.2f}x: {met}"
    others = found.others()
    # The dense layer takes part again, because a ratio holds only for layers that took turns.
    dense, *times = fastest([found.dense, *others.values()], found.x_BTD, OTHER_REPEATS)
    for name, spent in zip(others, times, strict=True):
        yield f"  {name:<24}{1e3 * spent:>10.2f}{spent / dense:>8.2f}x"


def cases(*, large: bool) -> list[MoeCase]:
    """Return the cases: a GPU at both widths, the CPU at the small ones only unless `large`."""
    found = [("cpu", preset) for preset in (SMALL, *((LARGE,) if large else ()))]
    if torch.cuda.is_available():
        found += [("cuda", preset) for preset in (SMALL, LARGE)]
    return [MoeCase(device, dtype, preset) for device, preset in found for dtype in AGREEMENT]


def main() -> None:
    """Time every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="time the widths of the 7B preset on the CPU too")
    arguments = parser.parse_args()
    print(f"{arguments.tokens} tokens, {torch.get_num_threads()} CPU threads; fastest of {arguments.repeats}, in ms")
    with torch.inference_mode():
        for case in cases(large=arguments.large):
            for line in table(case, arguments.tokens, arguments.repeats):
                print(line, flush=True)


if __name__ == "__main__":
    main()
