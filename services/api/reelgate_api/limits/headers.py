"""Limits as the caller is told them: RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-10)."""

from collections.abc import Sequence

from reelgate_common.domain.quota import Quota

_WINDOW_SECONDS = 60


def headers(quotas: Sequence[Quota]) -> dict[str, str]:
    """The policies, and what is left of each; nothing where there is no limit."""
    if not quotas:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{quota.name}";q={quota.per_minute};w={_WINDOW_SECONDS}' for quota in quotas),
        "RateLimit": ", ".join(f'"{quota.name}";r={quota.remaining};t={quota.next_seconds}' for quota in quotas),
    }
