"""Checkpoints of a few thousand random weights, of transformers' real classes, in folders as their authors ship them.

The weights are wide, so that another image or question gives another answer.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from harness.records import Media, MediaPart, Request, TextPart, Turn

tf: Any = transformers  # half of it is untyped
WIDE = 0.4
LETTERS = [chr(code) for code in range(33, 127)]
BASE = ["<unk>", "<s>", "</s>", "<pad>"]
BOS, EOS, PAD = 1, 2, 3
TEMPLATE = (
    "{{% for m in messages %}}{{{{ m['role'] }}}}: {{% for c in m['content'] %}}{{% if c['type'] == 'image' %}}{image}"
    "{{% else %}}{{{{ c['text'] }}}}{{% endif %}}{{% endfor %}} {{% endfor %}}"
    "{{% if add_generation_prompt %}}assistant:{{% endif %}}"
)
TEXT_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION: dict[str, Any] = {**SMALL, "image_size": 28, "patch_size": 14, "initializer_range": WIDE}
ENDS: dict[str, Any] = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}


def tokenizer(special: Sequence[str] = (), base: Sequence[str] = BASE, **named: str) -> Any:
    """Return a tokenizer of single letters, with further special tokens; `named` gives some of them a name."""
    words = [*base, *special, *LETTERS, "Ġ"]
    model = models.BPE({word: index for index, word in enumerate(words)}, [], unk_token="<unk>")
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([*base, *special])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        **({"extra_special_tokens": named} if named else {}),
        model_max_length=2048,
    )


def text_config(words: Any, **more: Any) -> dict[str, Any]:
    """Return the numbers of a language model over the vocabulary of a tokenizer."""
    return {
        **SMALL,
        "num_key_value_heads": 2,
        "vocab_size": len(words),
        "max_position_embeddings": 2048,
        "initializer_range": WIDE,
        **ENDS,
        **more,
    }


def llama(folder: Path) -> None:
    """A language model of text alone, with a chat template."""
    words = tokenizer()
    words.chat_template = TEXT_TEMPLATE
    save(folder, tf.LlamaForCausalLM(tf.LlamaConfig(**text_config(words))), words)


def llava(folder: Path) -> None:
    """LLaVA 1.5."""
    words = tokenizer(["<image>"])
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**VISION),
        text_config=tf.LlamaConfig(**text_config(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    processor = tf.LlavaProcessor(
        image_processor=clip_images(),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE.format(image="<image>"),
        num_additional_image_tokens=1,
    )
    save(folder, tf.LlavaForConditionalGeneration(config), processor)


def llava_next(folder: Path) -> None:
    """LLaVA-NeXT, which cuts an image into tiles."""
    words = tokenizer(["<image>"])
    tiles = [[28, 56], [56, 28], [56, 56]]
    config = tf.LlavaNextConfig(
        vision_config=tf.CLIPVisionConfig(**VISION),
        text_config=tf.LlamaConfig(**text_config(words)),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_grid_pinpoints=tiles,
    )
    processor = tf.LlavaNextProcessor(
        image_processor=tf.LlavaNextImageProcessorPil(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=tiles
        ),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE.format(image="<image>"),
        num_additional_image_tokens=1,
    )
    save(folder, tf.LlavaNextForConditionalGeneration(config), processor)


QWEN = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|box_start|>", "<|box_end|>"]


def _qwen(folder: Path, config: Any, model: Any, vision: dict[str, Any], rope: dict[str, Any]) -> None:
    words = tokenizer(QWEN)
    ids = {
        name: words.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image_token_id", "image_pad"),
            ("video_token_id", "video_pad"),
            ("vision_start_token_id", "vision_start"),
            ("vision_end_token_id", "vision_end"),
        )
    }
    numbers = text_config(words, rope_parameters={"rope_type": "default", "rope_theta": 10000.0, **rope})
    seen = {"hidden_size": 32, "intermediate_size": 64, "depth": 2, "num_heads": 4, "out_hidden_size": 32, **vision}
    made = config(text_config=numbers, vision_config={**seen, "initializer_range": WIDE}, **ids, **ENDS)
    words.chat_template = TEMPLATE.format(image="<|vision_start|><|image_pad|><|vision_end|>")
    patch = vision["patch_size"]
    images = tf.Qwen2VLImageProcessorPil(
        size={"shortest_edge": (2 * patch) ** 2, "longest_edge": (6 * patch) ** 2}, patch_size=patch, merge_size=2
    )
    # As on the hub: without a file for the whole processor, its class named beside the tokenizer.
    images.save_pretrained(folder)
    save(folder, model(made), words)


def qwen2_5_vl(folder: Path) -> None:
    """Qwen2.5-VL."""
    vision = {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    _qwen(folder, tf.Qwen2_5_VLConfig, tf.Qwen2_5_VLForConditionalGeneration, vision, {"mrope_section": [2, 1, 1]})


def qwen3_vl(folder: Path) -> None:
    """Qwen3-VL."""
    vision = {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    rope = {"mrope_section": [2, 1, 1], "mrope_interleaved": True}
    _qwen(folder, tf.Qwen3VLConfig, tf.Qwen3VLForConditionalGeneration, vision, rope)


def gemma3(folder: Path) -> None:
    """Gemma 3, and so MedGemma."""
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    words = tokenizer(list(marks.values()), **marks)
    config = tf.Gemma3Config(
        text_config=text_config(
            words,
            head_dim=8,
            sliding_window=16,
            query_pre_attn_scalar=8,
            tie_word_embeddings=False,
            layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config={**VISION, "patch_size": 7},
        mm_tokens_per_image=4,
        boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id,
        image_token_index=words.image_token_id,
        initializer_range=WIDE,
        # Wide embeddings that are also the output would repeat the last letter for ever.
        tie_word_embeddings=False,
        **ENDS,
    )
    processor = tf.Gemma3Processor(
        image_processor=tf.Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        tokenizer=words,
        chat_template="<s>" + TEMPLATE.format(image="<start_of_image>"),
        image_seq_length=4,
    )
    save(folder, tf.Gemma3ForConditionalGeneration(config), processor)


def internvl(folder: Path) -> None:
    """InternVL 3."""
    marks = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    words = tokenizer(list(marks.values()), **marks)
    config = tf.InternVLConfig(
        text_config={"model_type": "qwen2", **text_config(words)},
        vision_config={**VISION, "image_size": [28, 28], "patch_size": [7, 7], "layer_scale_init_value": 1.0},
        image_token_id=words.context_image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    tf.GotOcr2ImageProcessorPil(
        size={"height": 28, "width": 28}, crop_to_patches=True, min_patches=1, max_patches=2
    ).save_pretrained(folder)
    words.chat_template = TEMPLATE.format(image="<IMG_CONTEXT>\n")
    save(folder, tf.InternVLForConditionalGeneration(config), words)
    settings = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    (folder / "processor_config.json").write_text(json.dumps(settings))


IDEFICS = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]


def idefics3(folder: Path) -> None:
    """Idefics 3, which cuts images into tiles."""
    words = tokenizer([*IDEFICS, *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))])
    config = tf.Idefics3Config(
        text_config={"model_type": "llama", **text_config(words)},
        vision_config={**VISION, "patch_size": 7},
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        **ENDS,
    )
    images = tf.Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    template = TEMPLATE.format(image="<image>")
    processor = tf.Idefics3Processor(images, words, image_seq_len=4, chat_template=template)
    save(folder, tf.Idefics3ForConditionalGeneration(config), processor)


def mllama(folder: Path) -> None:
    """Llama 3.2 Vision, which reads images by cross attention."""
    words = tokenizer(["<|image|>", "<|python_tag|>"])
    image = words.convert_tokens_to_ids("<|image|>")
    config = tf.MllamaConfig(
        text_config=text_config(words, num_hidden_layers=3, cross_attention_layers=[1]),
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 28,
            "patch_size": 14,
            "max_num_tiles": 2,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [1],
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
            "initializer_range": WIDE,
        },
        image_token_index=image,
    )
    processor = tf.MllamaProcessor(
        image_processor=tf.MllamaImageProcessorPil(size={"height": 28, "width": 28}, max_image_tiles=2),
        tokenizer=words,
        chat_template="<s>" + TEMPLATE.format(image="<|image|>"),
    )
    save(folder, tf.MllamaForConditionalGeneration(config), processor)


def paligemma(folder: Path) -> None:
    """PaliGemma, which was not made for conversations."""
    words = tokenizer(["<image>"], image_token="<image>")
    words.add_tokens([f"<loc{place:04}>" for place in range(1024)] + [f"<seg{place:03}>" for place in range(128)])
    numbers = text_config(words, head_dim=8, tie_word_embeddings=False)
    config = tf.PaliGemmaConfig(
        text_config={"model_type": "gemma", **numbers},
        vision_config={**VISION, "projection_dim": 32, "vision_use_head": False},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
        tie_word_embeddings=False,
        **ENDS,
    )
    images = tf.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    processor = tf.PaliGemmaProcessor(image_processor=images, tokenizer=words)
    save(folder, tf.PaliGemmaForConditionalGeneration(config), processor)


def florence2(folder: Path) -> None:
    """Florence-2: an encoder reads image and question, a decoder writes."""
    words = tokenizer(["<image>", *(f"<loc_{place}>" for place in range(20))], image_token="<image>")
    config = tf.Florence2Config(
        text_config={
            "model_type": "bart",
            "vocab_size": len(words),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": 256,
            "init_std": WIDE,
            "decoder_start_token_id": EOS,
            **ENDS,
            "forced_eos_token_id": None,
        },
        vision_config={
            "depths": [1, 1],
            "patch_size": [7, 3],
            "patch_stride": [4, 2],
            "patch_padding": [3, 1],
            "patch_prenorm": [False, True],
            "embed_dim": [16, 32],
            "num_heads": [2, 2],
            "num_groups": [2, 2],
            "window_size": 4,
            "projection_dim": 32,
            "initializer_range": WIDE,
        },
        image_token_id=words.convert_tokens_to_ids("<image>"),
        **ENDS,
        tie_word_embeddings=False,
    )
    images = clip_images()
    images.image_seq_length = 17
    save(folder, tf.Florence2ForConditionalGeneration(config), tf.Florence2Processor(images, words))


def kosmos2(folder: Path) -> None:
    """Kosmos-2, whose processor places the image itself."""
    # The places of an image are held by the tokens after `<unk>`, which must not be those of padding and end.
    words = tokenizer(base=("<s>", "<pad>", "</s>", "<unk>"))
    images = clip_images()
    processor = tf.Kosmos2Processor(images, words, num_patch_index_tokens=16)
    config = tf.Kosmos2Config(
        text_config={
            "vocab_size": len(words),
            "embed_dim": 32,
            "layers": 2,
            "ffn_dim": 64,
            "attention_heads": 4,
            "max_position_embeddings": 512,
            "init_std": WIDE,
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
            "tie_word_embeddings": False,
        },
        vision_config=VISION,
        tie_word_embeddings=False,
    )
    model = tf.Kosmos2ForConditionalGeneration(config)
    # What is seen is of length 1 here, and what is read is not.
    model.image_to_text_projection.dense.weight.data *= 20
    save(folder, model, processor)


def clip_images() -> Any:
    """Return the image processor of CLIP, for images of 28 pixels."""
    return tf.CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})


def clip(folder: Path) -> None:
    """CLIP, whose text tower reads the vector at the end of a text."""
    words = tokenizer()
    numbers = {**text_config(words), "max_position_embeddings": 64, "projection_dim": 16}
    config = tf.CLIPConfig(text_config=numbers, vision_config={**VISION, "projection_dim": 16}, projection_dim=16)
    save(folder, tf.CLIPModel(config), tf.CLIPProcessor(image_processor=clip_images(), tokenizer=words))


def siglip(folder: Path) -> None:
    """SigLIP, whose texts are padded to their full length."""
    words = tokenizer()
    numbers = {**text_config(words), "max_position_embeddings": 48, "projection_size": 32}
    config = tf.SiglipConfig(text_config=numbers, vision_config=VISION)
    images = tf.SiglipImageProcessorPil(size={"height": 28, "width": 28})
    save(folder, tf.SiglipModel(config), tf.SiglipProcessor(image_processor=images, tokenizer=words))


FAMILIES: Mapping[str, Callable[[Path], None]] = {
    "clip": clip,
    "florence2": florence2,
    "gemma3": gemma3,
    "idefics3": idefics3,
    "internvl": internvl,
    "llama": llama,
    "llava": llava,
    "llava_next": llava_next,
    "kosmos2": kosmos2,
    "mllama": mllama,
    "paligemma": paligemma,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "siglip": siglip,
}


# Of weights that make a family answer alike to most questions, others are taken.
SEEDS: Mapping[str, int] = {"qwen3_vl": 3}


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write a model with its processor or tokenizer."""
    for weights in model.parameters():
        # Some projections and gates begin as 0, behind which every image is alike.
        if (weights.dim() > 1 or weights.numel() == 1) and not weights.any():
            torch.nn.init.normal_(weights, mean=float(weights.numel() == 1), std=WIDE)
    processor.save_pretrained(folder)
    model.eval().save_pretrained(folder)


def make(family: str, folder: Path) -> Path:
    """Write the checkpoint of a family, the same at every call, and return its folder."""
    tf.utils.logging.disable_progress_bar()
    torch.manual_seed(SEEDS.get(family, 0))
    FAMILIES[family](folder)
    return folder


class Shown:
    """An image that lies in memory, as an adapter gets it."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels
        self.record = Media(path="x.png", sha256="0", size=pixels.shape[:2])

    def image(self) -> Any:
        """Return uint8 (H, W, 3)."""
        return self.pixels


def pictures(count: int) -> list[Shown]:
    """Return images of noise, of different sizes."""
    chance = np.random.default_rng(0)
    sizes = chance.integers(30, 90, (count, 2))
    return [Shown(chance.integers(0, 256, (height, width, 3), dtype=np.uint8)) for height, width in sizes]


QUESTIONS = ("what is this?", "Is there a mass in the left lung of this patient?", "where", "Which organ is shown?")


def asked(number: int, images: Sequence[Shown], **more: Any) -> Request:
    """Return a question about images; questions differ in length, so that a batch is padded."""
    parts: tuple[Any, ...] = (
        *(MediaPart(media=cast(Any, image)) for image in images),
        TextPart(text=f"{QUESTIONS[number % 4]} {number}"),
    )
    turns = (Turn(role="user", parts=parts),)
    decoding = {"max_new_tokens": 8, "temperature": 0.0}
    return Request(messages=turns, **{"decoding": decoding, "key": str(number), **more})
