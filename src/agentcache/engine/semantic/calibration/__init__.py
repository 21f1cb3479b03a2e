"""Other embedders' cosines on the scale of the one that ships, and whether an embedder is fit to be served by."""
