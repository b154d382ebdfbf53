"""Does a file from another source hold the same tensors?"""

from pathlib import Path

from segzoo.conversion.compare import compare
from segzoo.errors import ConversionError
from segzoo.formats import Weights, naming, open_weights

_NAMED = 6


def same_tensors(ours: Weights, name: str, path: Path) -> int:
    """How many tensors a file has in common with ours, each the same bit for bit. The two may be in two layouts.

    Raises ConversionError, which names the first tensors that differ, or that one of the files lacks.
    """
    with naming(path, name):
        found = compare(ours, open_weights(path))
    wrong = [f"{one.key} ({one.why})" for one in found.unequal]
    wrong += [f"{key} (not in {name})" for key in found.only_left] + [f"{key} (in {name} only)" for key in found.only_right]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ConversionError(
            f"{name}: {len(wrong)} tensors are not those of the checkpoint: {', '.join(wrong[:_NAMED])}{more}",
            hint="one of the two files is not what the manifest says, or was changed; segzoo diff compares them tensor by tensor",
        )
    if not found.equal:
        raise ConversionError(f"{name}: no tensor in common with the checkpoint")
    return found.equal
