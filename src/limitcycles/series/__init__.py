"""Statistics of long trajectories: spectra, autocorrelations, nulls, currents, steady states.

Arrays of weights have shape (epoch, weight), as the store keeps them; a step of a series is one
epoch, unless it is said otherwise. Everything is computed in float64, in blocks of weights.
"""
