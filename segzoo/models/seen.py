"""What a network puts aside as it runs: its intermediates, by the names that the numbers rung compares."""

from torch import Tensor

Seen = dict[str, Tensor]
