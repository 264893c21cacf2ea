"""Trajectories: the weights after every epoch, on disk."""
