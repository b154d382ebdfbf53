"""What is the plain ViT's own: which of its sections stand for one another, and which it cannot do without."""

# Of each of these a file has one: where its tokens come from, and what stands before the patch embedding.
STEMS = (("stem",), ("stem without class position", "class token"), ("stem without class position",), ("distilled stem",))
ROOTS = ((), ("residual root",), ("residual network",))
ESSENTIAL = {
    "stem": "a class token with a position of its own",
    "stem without class position": "positions for the patches only",
    "class token": "a class token",
    "distilled stem": "a distillation token, which every block attends to",
    "residual root": "the root of a ResNet before its patch embedding",
    "residual network": "a ResNet before its patch embedding",
    "encoder": "an encoder",
}
"""Sections without which a backbone is another model, in words: a target that cannot hold them is refused."""
