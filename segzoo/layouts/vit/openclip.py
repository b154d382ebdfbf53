"""`openclip`: the image tower of openai/CLIP's and open_clip's files, with the text tower beside it or without (open_clip 3.3.0).

Its norm before the blocks is `ln_pre`, its patch embedding has no bias. Class token and positions lie without the axis of the batch. `proj` is the
projection to the space that images and texts share; it is used as `x @ proj`. Open_clip's towers of other libraries (`visual.trunk`) are timm's.
"""

from segzoo.layouts.layout import Beside, Layout
from segzoo.layouts.rule import Rule, affine
from segzoo.layouts.vit.family import VIT

_BLOCK = "{p}transformer.resblocks.{i}"
_QKV = ("blocks.{i}.q", "blocks.{i}.k", "blocks.{i}.v")

OPENCLIP = Layout(
    name="openclip",
    title="OpenAI's CLIP and open_clip, image tower",
    family=VIT,
    eps=1e-5,
    needs=frozenset({"norm before the blocks"}),
    prefixes=("visual.",),
    beside=(
        Beside(
            ("transformer.", "token_embedding.", "positional_embedding", "text_projection", "ln_final.", "text."),
            "text tower",
            "beside the image tower, no part of it",
        ),
        Beside(
            ("logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size"),
            "numbers of the training",
            "beside the image tower, no part of it",
        ),
    ),
    sections={
        "stem": (
            Rule("{p}class_embedding", ("cls",), "d -> 1 1 d"),
            Rule("{p}positional_embedding", ("pos.cls", "pos.grid"), "1+n d -> 1 1+n d"),
            Rule("{p}conv1.weight", ("patch.weight",), "d chan y x"),
        ),
        "norm before the blocks": affine("{p}ln_pre", "norm_pre", "d"),
        "encoder": (
            *affine(f"{_BLOCK}.ln_1", "blocks.{i}.norm1", "d"),
            Rule(f"{_BLOCK}.attn.in_proj_weight", tuple(f"{part}.weight" for part in _QKV), "(s e) d -> s e d"),
            Rule(f"{_BLOCK}.attn.in_proj_bias", tuple(f"{part}.bias" for part in _QKV), "(s e) -> s e"),
            *affine(f"{_BLOCK}.attn.out_proj", "blocks.{i}.proj", "d e"),
            *affine(f"{_BLOCK}.ln_2", "blocks.{i}.norm2", "d"),
        ),
        "MLP": (*affine(f"{_BLOCK}.mlp.c_fc", "blocks.{i}.fc1", "m d", "m"), *affine(f"{_BLOCK}.mlp.c_proj", "blocks.{i}.fc2", "d m")),
        "layer scale": (Rule(f"{_BLOCK}.ls_1.gamma", ("blocks.{i}.ls1",), "d"), Rule(f"{_BLOCK}.ls_2.gamma", ("blocks.{i}.ls2",), "d")),
        "final norm": affine("{p}ln_post", "norm", "d"),
        "projection": (Rule("{p}proj", ("projection",), "d shared -> shared d"),),
    },
)
