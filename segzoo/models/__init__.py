"""The networks in plain torch, and what they are held against. Parameter names are those of layout `OWN`, so state dicts load strictly."""
