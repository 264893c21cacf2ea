"""Intervals, stationarity, spectra and currents of series, and their null models."""
