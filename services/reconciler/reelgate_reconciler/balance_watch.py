"""The balance of our account at Kie.ai: looked at now and then, so that somebody tops it up before it is empty."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from reelgate_common import metrics, vendor_account
from reelgate_common.db import Database
from reelgate_common.kie.account import Balance
from reelgate_reconciler.settings import Settings

log = structlog.get_logger(__name__)


class Account(Protocol):
    """What is needed of Kie.ai."""

    async def balance(self) -> Balance:
        """What is left on the account."""
        ...


@dataclass(frozen=True)
class BalanceWatch:
    """One replica asks, all of them show what it heard."""

    db: Database
    account: Account
    settings: Settings

    async def run_once(self) -> int:
        """Ask when it is time, export what is known, warn while it is too little."""
        every = timedelta(seconds=self.settings.balance_seconds * 0.7)  # passes come at 0.8 to 1.2 of their interval
        async with self.db.transaction() as tx:
            mine = await vendor_account.may_look(tx, every=every)
        if mine:
            await self._ask()
        async with self.db.connection() as connection:
            left = await vendor_account.balance(connection)
        if left is None:
            return 0
        is_low = left < self.settings.kie_low_balance
        metrics.vendor_balance.set(left)
        metrics.vendor_balance_low.set(int(is_low))
        if is_low and mine:
            log.warning("vendor_balance_low", balance=left, limit=self.settings.kie_low_balance)
        return 0

    async def _ask(self) -> None:
        said = await self.account.balance()
        if said.credits is None:
            log.warning("vendor_balance_unknown", outcome=said.outcome, code=said.code, message=said.message)
            return
        async with self.db.transaction() as tx:
            await vendor_account.set_balance(tx, said.credits)
