"""What measured counts say of a reported mIoU: confirmed or refuted by the full set, consistent or not by a subset."""

from segzoo.miou import Counts, interval, metrics, total

# A published figure is rounded to two decimals, and the publisher's GPU rounded otherwise than ours.
TOLERANCE = 0.05 + 0.005
# A bootstrap over fewer images says nothing: most classes occur in none of them.
FEWEST_IMAGES = 10


def judge(counts: list[Counts], reported: float, whole: bool) -> tuple[str, str]:
    """What these counts say of a reported mIoU. Only the full set can confirm or refute."""
    measured = metrics(total(counts))["mIoU"]
    if whole:
        confirmed = abs(measured - reported) <= TOLERANCE
        return ("confirmed", f"confirmed within {TOLERANCE}") if confirmed else ("refuted", f"refuted, more than {TOLERANCE} apart")
    if len(counts) < FEWEST_IMAGES:
        return "undecided", f"undecided, fewer than {FEWEST_IMAGES} images"
    low, high = interval(counts)
    fits = low - TOLERANCE <= reported <= high + TOLERANCE
    verdict = "consistent" if fits else "inconsistent"
    return verdict, f"{verdict}, 95 % interval {low:.2f} to {high:.2f}"
