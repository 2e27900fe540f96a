"""New identifiers: UUIDv7, so that rows made together lie together and sort by time."""

from datetime import UTC, datetime
from uuid import UUID

from uuid_utils import compat


def new_id() -> UUID:
    """A UUIDv7 as the standard library's UUID."""
    return compat.uuid7()


def first_id(at: datetime) -> UUID:
    """The lowest UUIDv7 of a moment: everything made before it has a lower one, as far as clocks agree."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def made_at(made: UUID) -> datetime:
    """When a UUIDv7 was made: its first 48 bits are milliseconds."""
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
