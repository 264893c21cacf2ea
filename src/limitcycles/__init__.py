"""Measure what Chaudhari & Soatto (arXiv 1710.11029) claim about stochastic gradient descent."""

__version__ = "0.1.0"
