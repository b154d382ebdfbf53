"""What a network puts aside as it runs: its intermediates, by the names that the numbers rung compares."""

from typing import Any

from torch import Tensor

Seen = dict[str, Tensor]


class _Unseen(Seen):
    """Where intermediates go that nobody asked for. None is kept, so that its memory is free as soon as the network has used it."""

    def __setitem__(self, name: str, value: Tensor) -> None:
        pass

    def update(self, *others: Any, **named: Tensor) -> None:
        pass

    def __ior__(self, other: Any) -> "_Unseen":  # type: ignore[override, misc]
        return self


def noted(seen: Seen | None) -> Seen:
    """The place where a network puts its intermediates, whether somebody asked for them or not."""
    return _Unseen() if seen is None else seen
