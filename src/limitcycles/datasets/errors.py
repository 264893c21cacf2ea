"""What can go wrong between a source and a dataset."""

from limitcycles.errors import LimitcyclesError


class DatasetError(LimitcyclesError):
    """A dataset that cannot be had, or a specification of one that cannot be met."""


class ContentError(DatasetError):
    """Bytes that are not the file they should be."""


class SourceError(DatasetError):
    """One source did not deliver; the next one is tried."""
