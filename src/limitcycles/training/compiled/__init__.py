"""Fully connected networks trained in compiled loops, for trajectories of 10⁵ epochs (Fig. 3)."""
