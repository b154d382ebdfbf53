"""Words that training programs put into names of tensors, for a module that they wrap around another one.

They may stand anywhere in a name: `backbone._orig_mod.norm.weight` is that of a model whose backbone alone was compiled.
"""

from collections.abc import Collection

from segzoo.formats.weights import Weights, renamed

_WORDS = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "module": "DataParallel, DDP and averages",
}


def bare(name: str) -> str:
    """A name without these words."""
    return _without(name, _WORDS) if any(word in name for word in _WORDS) else name


def unwrapped(opened: Weights) -> Weights:
    """The tensors under names without these words. A word stays where two tensors would get the same name."""
    for word, by in _WORDS.items():
        if not any(word in name for name in opened.specs):
            continue
        inner = {name: _without(name, (word,)) for name in opened.specs}
        changed = sum(name != one for name, one in inner.items())
        if changed and all(inner.values()) and len(set(inner.values())) == len(inner):
            opened = renamed(opened, {one: name for name, one in inner.items()}, f"'{word}.', by {by}, left out of {changed} names")
    return opened


def _without(name: str, words: Collection[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in words)
