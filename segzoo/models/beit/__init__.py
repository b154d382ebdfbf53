"""BEiT, and MAE with relative positions: the torch network, and an independent reference for the numbers rung."""
