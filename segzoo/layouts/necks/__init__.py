"""The necks: what stands between backbone and head. A new neck is one file here and one line in `layouts`."""
