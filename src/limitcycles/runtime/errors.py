"""The one base class of every error that a user can mend."""


class LimitcyclesError(Exception):
    """Something a user can mend; the message names the file, key or value, and the remedy."""
