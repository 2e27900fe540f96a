"""New identifiers: UUIDv7, so that rows made together lie together and sort by time."""

from uuid import UUID

from uuid_utils import compat


def new_id() -> UUID:
    """A UUIDv7 as the standard library's UUID."""
    return compat.uuid7()
