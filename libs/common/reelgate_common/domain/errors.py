"""The errors of the domain. They know no HTTP; each service maps them at its edge.

ReelgateError
├── InvalidInput            the caller's fault: names the field and the fix
│   └── TooLarge            more bytes than we take
├── NotFound                no such thing, or not the caller's
├── NotAuthenticated        no key, or none that is known
├── NotAllowed              a key that may not do this
├── InsufficientCredits     the balance does not cover the price
├── IdempotencyMismatch     the same Idempotency-Key with another body
├── AlreadySent             too late to cancel
├── NotFinished             the video is still being made
├── Expired                 the video existed, and is gone
├── Deleted                 the video was deleted here
├── SourceUnusable          the video cannot be extended or upgraded
├── BalanceTooLow           an adjustment would take more than there is
├── TryLater                nothing is wrong with the request but its time
│   ├── RateLimited         too many requests of a key or a wallet
│   ├── TooManyQueued       too many jobs of a wallet wait to be sent
│   ├── QueueFull           too many jobs of everybody wait to be sent
│   ├── TooManyDownloads    too many read the same video
│   └── StillUnderWay       an earlier request with the same Idempotency-Key is not decided yet
└── Unavailable             a part we depend on is away; nothing was changed
    ├── Busy                the database made us wait too long for somebody else
    └── TooManyStreams      this process holds as many live streams, or downloads, as it may
"""

from reelgate_common.domain.quota import Quota


class ReelgateError(Exception):
    """Base of every expected error."""


class InvalidInput(ReelgateError):
    """The caller's input is wrong; `field` names where, the message how to mend it."""

    def __init__(self, field: str | None, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooLarge(InvalidInput):
    """More bytes than the operator allows; the message says how many."""


class NotFound(ReelgateError):
    """No such thing, or it belongs to someone else: the caller cannot tell which."""


class NotAuthenticated(ReelgateError):
    """No credential, or none that is known and valid."""


class NotAllowed(ReelgateError):
    """The credential is good, but not for this."""


class InsufficientCredits(ReelgateError):
    """The balance does not cover the price; nothing was stored or charged."""

    def __init__(self, *, balance: int, cost: int) -> None:
        super().__init__(f"Insufficient credits: the video costs {cost}, the balance is {balance}")
        self.balance = balance
        self.cost = cost


class IdempotencyMismatch(ReelgateError):
    """The Idempotency-Key, or the reference that stands for it, was used before with another body."""

    def __init__(self, message: str = "This Idempotency-Key was used with another request: take a new one") -> None:
        super().__init__(message)


class AlreadySent(ReelgateError):
    """Kie.ai has the job; it can no longer be canceled."""


class NotFinished(ReelgateError):
    """The video is still being made: what was asked for needs a finished one."""


class Expired(ReelgateError):
    """The video was delivered, and its file is gone since."""


class Deleted(ReelgateError):
    """The video was deleted, on request or at the end of its retention."""


class SourceUnusable(ReelgateError):
    """The video exists, but cannot be extended or upgraded; the message says why."""


class BalanceTooLow(ReelgateError):
    """The adjustment would make the balance negative; nothing was changed."""

    def __init__(self, *, balance: int, amount: int) -> None:
        super().__init__(f"The balance is {balance}: an adjustment of {amount} would make it negative")
        self.balance = balance


class TryLater(ReelgateError):
    """Nothing was stored or charged; the same request may pass after `retry_seconds`."""

    def __init__(self, message: str, *, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class RateLimited(TryLater):
    """A key or a wallet asked too often. The request itself was not counted."""

    def __init__(self, quotas: tuple[Quota, ...]) -> None:
        self.quotas = quotas
        self.violated = [quota for quota in quotas if not quota.remaining]
        limits = " and ".join(f"{quota.per_minute} a minute for this {quota.name}" for quota in self.violated)
        wait = max((quota.next_seconds for quota in self.violated), default=1)
        super().__init__(f"Too many requests: the limit is {limits}", retry_seconds=wait)


class TooManyQueued(TryLater):
    """As many jobs of the wallet as may wait are waiting."""

    def __init__(self, *, max_queued: int, retry_seconds: int) -> None:
        super().__init__(
            f"This wallet has {max_queued} jobs waiting to be sent, which is as many as may wait",
            retry_seconds=retry_seconds,
        )


class QueueFull(TryLater):
    """As many jobs as the gateway lets wait are waiting."""

    def __init__(self, *, retry_seconds: int) -> None:
        super().__init__("Too many jobs are waiting to be sent: no more are taken now", retry_seconds=retry_seconds)


class TooManyDownloads(TryLater):
    """As many read this video as may at once."""

    def __init__(self, *, most: int) -> None:
        super().__init__(f"This video is read {most} times at once, which is as often as it may be", retry_seconds=5)


class StillUnderWay(TryLater):
    """The request came before, and what became of it is not known yet: ask again with the same key."""

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key may still be under way: send it again with the same key",
            retry_seconds=2,
        )


class Unavailable(ReelgateError):
    """The database, the broker or the vendor is away; nothing was changed, try again."""


class Busy(Unavailable):
    """What we need was held by another transaction for longer than we wait."""


class Overloaded(Unavailable):
    """More is asked of the database than it does; nothing of this was done."""


class TooManyStreams(Unavailable):
    """This process holds as many live streams, or downloads, as it may; another, or a later try, may take it."""
