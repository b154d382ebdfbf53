"""What counts say of a reported mIoU: the full set confirms or refutes it, a subset is consistent with it or not."""

from segzoo.evaluation.counts import Counts, metrics, total
from segzoo.evaluation.interval import interval

# Another GPU, library version or order of additions moves mmseg's own figures by this much.
TOLERANCE = 0.05


def tolerance(decimals: int) -> float:
    """By how many points measured and reported mIoU may differ: TOLERANCE, and what rounding to `decimals` hides."""
    return round(TOLERANCE + 0.5 * 10**-decimals, 6)


def judge(counts: list[Counts], reported: float, decimals: int, of: int) -> tuple[str, str]:
    """The verdict on a reported mIoU in a word and in a sentence, by the counts of some or all images of `of`.

    Only the full set can confirm or refute.
    """
    allowed = tolerance(decimals)
    measured = metrics(total(counts))["mIoU"]
    if len(counts) >= of:
        confirmed = round(abs(measured - reported), 6) <= allowed  # 38.2 - 38.1 is more than 0.1 in binary
        return ("confirmed", f"confirmed within {allowed}") if confirmed else ("refuted", f"refuted, more than {allowed} apart")
    found = interval(counts, of)
    if found is None:
        return "undecided", "undecided, too few images for a figure of all classes"
    low, high = found
    verdict = "consistent" if low - allowed <= reported <= high + allowed else "inconsistent"
    return verdict, f"{verdict}, 95 % interval {low:.2f} to {high:.2f}"
