"""What can go wrong between a source and a dataset."""

from limitcycles.runtime.errors import LimitcyclesError


class DatasetError(LimitcyclesError):
    """A dataset that cannot be had, or a specification of one that cannot be met."""


class UnreachableError(DatasetError):
    """A dataset that no source delivers, through no fault of what the user named."""


class ContentError(DatasetError):
    """Bytes that are not the file they should be."""


class SourceError(DatasetError):
    """One source did not deliver; the next one is tried."""


class LocalError(SourceError):
    """The user's own folder has something that cannot be used, or is not there."""
