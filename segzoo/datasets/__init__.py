"""Data sets: pairs of image and label on disk, decoded as MMSegmentation decodes them."""
