"""The one error of deploys, stacks and estates."""


class Refused(Exception):
    """Something that cannot go ahead: why, and the way out."""
