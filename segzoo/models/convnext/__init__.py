"""ConvNeXt: the torch network."""
