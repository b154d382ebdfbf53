"""ResNet: the torch network."""
