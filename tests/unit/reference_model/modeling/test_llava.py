"""LLaVA-1.5 with several images: their places, and the same answers as transformers' own class."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from harness.errors import ModelError
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IGNORE, IMAGE
from reference_model.modeling.llava import LlavaModel
from tests.unit.reference_model.small_llava import TOKENIZER, about, collator, small_config, small_model

CONFIG = small_config()
ROWS = ((about(1, 2, question="What is this?"),), (about(3), about(3, answer="no")))


def batch() -> Batch:
    return collator(CONFIG).batch(ROWS, np.random.default_rng(0))


def test_every_placeholder_gets_the_features_of_its_image_in_order() -> None:
    model, made = small_model(CONFIG), batch()
    image_BT = made.ids_BT == IMAGE
    assert image_BT.sum(dim=1).tolist() == [32, 16]
    with torch.no_grad():
        x_BTD = model.embed(made)
        patches_NPD = model.connector(model.vision(made.vision_B3SS))
    torch.testing.assert_close(x_BTD[0, image_BT[0]], patches_NPD[:2].flatten(0, 1))
    torch.testing.assert_close(x_BTD[1, image_BT[1]], patches_NPD[2])
    torch.testing.assert_close(x_BTD[~image_BT], model.language.embed_tokens(made.ids_BT[~image_BT]))


@pytest.mark.parametrize("images", [2, 4])
def test_placeholders_without_an_image_and_images_without_placeholders_are_refused(images: int) -> None:
    made = batch()
    wrong = replace(made, vision_B3SS=made.vision_B3SS[[0] * images])
    message = f"batch: expected {16 * images} image positions, 16 for each of {images} images, found 48; expand every"
    with pytest.raises(ModelError, match=message):
        small_model(CONFIG).embed(wrong)


def test_an_image_cut_in_two_is_refused() -> None:
    made = batch()
    moved_BT = made.ids_BT.clone()
    first = int((moved_BT[0] == IMAGE).nonzero()[0])
    moved_BT[0, first], moved_BT[1, -1] = TOKENIZER.end_id, IMAGE
    with pytest.raises(ModelError, match="found 48; expand every image"):
        small_model(CONFIG).embed(replace(made, ids_BT=moved_BT))


def test_every_part_learns_from_answers() -> None:
    model = small_model(CONFIG).train()
    loss = model(batch()).losses.language
    assert torch.isfinite(loss)
    loss.backward()
    idle = {name for name, value in model.named_parameters() if value.grad is None or not bool(value.grad.any())}
    # The last layer of the tower and the norm behind it take no part in the features.
    unused = ("vision.backbone.encoder.layers.1.", "vision.backbone.post_layernorm")
    assert {name for name in idle if not name.startswith(unused)} == set()
    assert any(name.startswith(unused) for name in idle)


def theirs(model: LlavaModel, image_token: int) -> LlavaForConditionalGeneration:
    """Return transformers' model with the same weights, whose names differ only in the names of its parts."""
    vision, language = CONFIG.vision, CONFIG.language
    built = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=vision.width, intermediate_size=vision.ffn_width, num_hidden_layers=vision.layers,
                num_attention_heads=vision.heads, image_size=vision.image_size, patch_size=vision.patch_size,
            ),
            text_config=LlamaConfig(
                vocab_size=TOKENIZER.special.base, hidden_size=language.width, intermediate_size=language.ffn_width,
                num_hidden_layers=language.layers, num_attention_heads=language.heads,
                rms_norm_eps=language.norm_epsilon,
                rope_parameters={"rope_type": "default", "rope_theta": language.rope_theta},
            ),
            image_token_index=image_token, vision_feature_layer=-2, vision_feature_select_strategy="default",
        )
    ).eval()  # fmt: skip
    names = (
        ("vision.backbone.", "model.vision_tower."),
        ("connector.0.", "model.multi_modal_projector.linear_1."),
        ("connector.2.", "model.multi_modal_projector.linear_2."),
        ("language.lm_head.", "lm_head."),
        ("language.", "model.language_model."),
    )
    own: dict[str, Tensor] = {}
    wanted = built.state_dict()
    for name, value in model.state_dict().items():
        old, new = next(pair for pair in names if name.startswith(pair[0]))
        renamed = name.replace(old, new, 1)
        own[renamed if renamed in wanted else renamed.replace("vision_tower.", "vision_tower.vision_model.")] = value
    built.load_state_dict(own)
    return built


@pytest.mark.slow
def test_logits_are_those_of_transformers() -> None:
    model = small_model(CONFIG)
    made = collator(CONFIG).batch([ROWS[0], (about(4, 5, answer="no"),)], np.random.default_rng(0))
    image_token = TOKENIZER.special.base - 1
    assert not bool((made.ids_BT == image_token).any())
    with torch.no_grad():
        hidden_BTD = model.language(model.embed(made), valid_BK=made.valid_BT).hidden_BTD
        logits_BTV = theirs(model, image_token)(
            input_ids=made.ids_BT.masked_fill(made.ids_BT == IMAGE, image_token),
            attention_mask=made.valid_BT.long(),
            pixel_values=made.vision_B3SS,
        ).logits
    largest = float((model.language.logits(hidden_BTD).detach() - logits_BTV)[made.valid_BT].abs().max())
    assert largest < 1e-5 * float(logits_BTV.abs().max())


@pytest.mark.slow
def test_a_few_questions_about_several_images_are_learnt_by_heart() -> None:
    model = small_model(CONFIG, scale=1.0).train()
    rows = [(about(1, 2, answer="yes"),), (about(2, 1, answer="no"),), (about(2, answer="the liver"),)]
    made = collator(CONFIG).batch(rows, np.random.default_rng(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(400):
        loss = model(made).losses.language
        if float(loss.detach()) < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    assert int((made.labels_BT != IGNORE).sum()) == 2 + 2 + 3
