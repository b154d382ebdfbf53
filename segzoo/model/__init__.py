"""The Segmenter in plain torch. Parameter names are MMSegmentation's, so its state dicts load strictly."""

from segzoo.model.segmenter import Segmenter, build
from segzoo.model.vit import VisionTransformer

__all__ = ["Segmenter", "VisionTransformer", "build"]
