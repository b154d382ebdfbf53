"""MiT: the torch network, and an independent reference for the numbers rung."""
