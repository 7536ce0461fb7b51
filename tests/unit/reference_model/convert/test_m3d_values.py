"""Converted language models and M3D-CLIP's text tower compute what transformers computes with the published weights."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

from reference_model.checkpoints.checkpoint import load_model
from reference_model.config import VolumeModelConfig
from reference_model.convert.conversion import prepare
from reference_model.convert.parents import Files
from reference_model.modeling.m3d_model import VolumeGroundingModel
from tests.unit.reference_model.convert import m3d_sources as published
from tests.unit.reference_model.convert.convert_sources import Tensors, drawn
from tests.unit.reference_model.convert.test_m3d_layouts import volume_preset

TINY = volume_preset("m3d-lamed-tiny")
# Entries of the tokenizer, and the rows that a vocabulary may have behind them.
BASE, PADDED = 404, 457


def weights_of(model: nn.Module) -> Tensors:
    """Return random weights of a model, all of them away from their initial values, and give it these weights."""
    tensors = drawn({name: tuple(value.shape) for name, value in model.state_dict().items()}, 1)
    model.load_state_dict(tensors)
    model.eval()
    return tensors


def converted(
    folder: Path, config: VolumeModelConfig, llm: Tensors, clip: Tensors | None = None
) -> VolumeGroundingModel:
    """Return the model for a language model on disk and random other parents."""
    clip = drawn(published.m3d_clip(config), 2) if clip is None else clip
    clip["logit_scale"] = torch.tensor(2.0)
    parts = {
        "llm": llm,
        "m3d_clip": clip,
        "vision": drawn(published.vision(config.vision), 3),
        "segvol": drawn(published.segvol(config), 4),
    }
    files = {name: folder / name / "pytorch_model.bin" for name in parts}
    for name, file in files.items():
        file.parent.mkdir()
        torch.save(parts[name], file)
    published.write_phi(files["llm"].parent)
    published.write_bert(files["m3d_clip"].parent)
    prepare(config, Files(**files)).write(folder / "model", lambda _: None)
    model = load_model(folder / "model")[0]
    assert isinstance(model, VolumeGroundingModel)
    return model


@pytest.mark.parametrize("kind", ["phi-3", "phi-3 with shared heads", "llama-3"])
def test_a_language_model_gives_the_logits_of_transformers(kind: str, tmp_path: Path) -> None:
    config = published.small(TINY, 4, key_value_heads=0 if kind == "phi-3" else 1)
    language = config.language
    numbers = {
        "vocab_size": PADDED,
        "hidden_size": language.width,
        "intermediate_size": language.ffn_width,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.heads,
        "num_key_value_heads": language.key_value_heads or language.heads,
        "max_position_embeddings": language.max_positions,
        "rms_norm_eps": language.norm_epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": language.rope_theta},
    }
    theirs: nn.Module
    if kind == "llama-3":
        theirs = LlamaForCausalLM(LlamaConfig(**numbers))
    else:
        theirs = Phi3ForCausalLM(Phi3Config(**numbers, pad_token_id=0))
    clip = drawn(published.m3d_clip(config), 2)
    ours = converted(tmp_path, config, weights_of(theirs), clip).language
    ids_BT = torch.tensor([[1, 5, 403, 77, 78, 300, 12]])
    with torch.no_grad():
        wanted = theirs(input_ids=ids_BT).logits
        found = ours.logits(
            ours(ours.embed_tokens(ids_BT), valid_BK=torch.ones_like(ids_BT, dtype=torch.bool)).hidden_BTD
        )
    torch.testing.assert_close(found[..., :BASE], wanted[..., :BASE], rtol=1e-4, atol=1e-4)
    # The head is linear, and a new row the mean of the old ones; so are their logits.
    mean = wanted[..., :BASE].mean(dim=-1, keepdim=True)
    torch.testing.assert_close(found[..., BASE:], mean.expand(-1, -1, 4), rtol=1e-4, atol=1e-4)


def test_m3d_clip_compares_what_transformers_bert_computes(tmp_path: Path) -> None:
    config = published.small(TINY, 4)
    bert = BertConfig(
        vocab_size=config.clip.vocabulary,
        hidden_size=config.clip.width,
        intermediate_size=config.clip.ffn_width,
        num_hidden_layers=config.clip.layers,
        num_attention_heads=config.clip.heads,
        max_position_embeddings=config.clip.max_length,
    )
    theirs = BertModel(bert)
    text = {f"language_encoder.{name}": value for name, value in weights_of(theirs).items()}
    clip = drawn(published.m3d_clip(config), 2) | text
    ours = converted(tmp_path, config, drawn(published.llm(config, BASE), 5), clip).clip
    ids_UT, valid_UT = torch.tensor([[2, 5, 6, 3], [2, 12, 3, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.no_grad():
        states_UTC = theirs(input_ids=ids_UT, attention_mask=valid_UT).last_hidden_state
        projected_UTC = states_UTC @ clip["mm_language_proj.weight"].T + clip["mm_language_proj.bias"]
        wanted = nn.functional.normalize(projected_UTC, dim=-1)[:, 0]
        torch.testing.assert_close(ours.embed_texts(ids_UT, valid_UT.bool()), wanted, rtol=1e-5, atol=1e-5)
