"""The heads: what each library calls their tensors, and their sizes. A new head is one file here and one line in `layouts`."""
