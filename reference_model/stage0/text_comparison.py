"""CLIP's comparison of images and regions with texts, which the language model reads.

Shape suffixes: B items, U distinct texts, C width of the tower, E width of the comparison, T positions, D width of the
language model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from reference_model.inputs.batch import PADDING, pad
from reference_model.inputs.conversation import Encoded, Tokenizer
from reference_model.modeling.language import LanguageModel
from reference_model.training.mixing import Row

# Fewest words of an answer about a whole image that counts as a caption.
CAPTION_WORDS = 5


class ComparisonHeads(Protocol):
    """Projections of images and texts; as in CLIP, the logarithms of the scales are trained."""

    picture: nn.Linear
    text: nn.Linear
    scale: nn.Parameter


@dataclass(frozen=True, slots=True)
class TextComparison:
    """Compares features with texts.

    Attributes:
        language: Reads the texts.
        tokenizer: Its tokenizer.
        heads: The projections; the first scale is that of captions.
    """

    language: LanguageModel
    tokenizer: Tokenizer
    heads: ComparisonHeads

    def caption_loss(self, rows: Sequence[Row], class_BC: Tensor) -> Tensor:
        """Return the loss between images and their captions, a scalar; 0 if none has a caption.

        Args:
            rows: Rows about one image each; the longest answer about all of it is its caption, if it is long enough.
            class_BC: Floating point, the states of the tower's class token.
        """
        texts = [[one.answer for one in row if not one.prompts and not one.named_masks] for row in rows]
        longest = [max(answers, key=len, default="") for answers in texts]
        found = [(index, caption) for index, caption in enumerate(longest) if len(caption.split()) >= CAPTION_WORDS]
        if not found:
            return class_BC.sum() * 0.0
        image_BE = self.heads.picture(class_BC[[index for index, _ in found]])
        return self.loss(image_BE, [caption for _, caption in found], self.heads.scale[0])

    def loss(self, item_BE: Tensor, texts: Sequence[str], scale: Tensor) -> Tensor:
        """Return CLIP's loss between items and their texts, a scalar.

        Args:
            item_BE: Floating point.
            texts: The text of each item.
            scale: Floating point scalar, the logarithm of the scale.
        """
        # Texts repeat among phantoms: equal texts form one class, and every item with that text is a match.
        unique = list(dict.fromkeys(texts))
        target_B = torch.tensor([unique.index(text) for text in texts], device=item_BE.device)
        text_UE = F.normalize(self.heads.text(self.read(unique)), dim=-1)
        logits_BU = F.normalize(item_BE, dim=-1) @ text_UE.T * scale.exp().clamp_max(100.0)  # CLIP's limit
        own_BU = F.one_hot(target_B, len(unique)).to(logits_BU.dtype)
        by_text_UB = own_BU.T / own_BU.sum(dim=0)[:, None]
        return (F.cross_entropy(logits_BU, target_B) + F.cross_entropy(logits_BU.T, by_text_UB)) / 2

    def read(self, texts: Sequence[str]) -> Tensor:
        """Return the language model's state after each text, floating point (U, D)."""
        tokenizer = self.tokenizer
        ids = [(tokenizer.start_id, *tokenizer.encode(text), tokenizer.end_id) for text in texts]
        padded = pad([Encoded(one, one) for one in ids], side="left")
        ids_BT, valid_BT, _ = (tensor.to(self.heads.scale.device) for tensor in padded)
        ids_BT = ids_BT.masked_fill(~valid_BT, PADDING)
        hidden_BTD = self.language(self.language.embed_tokens(ids_BT), valid_BK=valid_BT).hidden_BTD
        last_UD: Tensor = hidden_BTD[:, -1]
        return last_UD
