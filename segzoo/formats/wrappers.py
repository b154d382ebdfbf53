"""Words that training programs put into names of tensors, for a module that they wrap around another one.

They may stand anywhere in a name: `backbone._orig_mod.norm.weight` is that of a model whose backbone alone was compiled.
"""

from segzoo.formats.several import renamed
from segzoo.formats.weights import Weights

_WORDS = {
    "_orig_mod": "torch.compile",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "module": "DataParallel and DDP",
}


def unwrapped(opened: Weights) -> Weights:
    """The tensors under names without these words. A word stays where two tensors would get the same name."""
    for word, by in _WORDS.items():
        if not any(word in name for name in opened.specs):
            continue
        bare = {name: ".".join(part for part in name.split(".") if part != word) for name in opened.specs}
        changed = sum(name != inner for name, inner in bare.items())
        if changed and all(bare.values()) and len(set(bare.values())) == len(bare):
            opened = renamed(opened, {inner: name for name, inner in bare.items()}, f"'{word}.', by {by}, left out of {changed} names")
    return opened
