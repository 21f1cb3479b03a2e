"""Measurements of the product, each one command. Nothing here is asserted: figures are printed, as ratios of one run."""
