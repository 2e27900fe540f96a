"""HTTP in, about wallets and prices."""

from fastapi import APIRouter, Response

from reelgate_api.dependencies import AdminDep, CallerDep, Cursor, IdempotencyKey, PageSize, PartsDep
from reelgate_api.documented import answers
from reelgate_api.problems import responses
from reelgate_api.wallets import handlers, prices
from reelgate_api.wallets.prices import PriceList
from reelgate_api.wallets.schemas import (
    AdjustmentBody,
    GrantBody,
    Ledger,
    MovementView,
    Wallet,
    WalletAddress,
    WalletToFill,
)
from reelgate_common import grants
from reelgate_common.grants import Recorded

router = APIRouter()


@router.get(
    "/api/wallets/{wallet_address}",
    operation_id="get_wallet",
    tags=["wallets"],
    responses=responses(401, 403, 404, 503),
)
async def get_wallet(wallet_address: WalletAddress, caller: CallerDep, parts: PartsDep) -> Wallet:
    """The balance of a wallet."""
    credits_left = await handlers.balance(wallet_address, caller=caller, db=parts.db)
    return Wallet(wallet_address=wallet_address, credits=credits_left)


@router.get(
    "/api/wallets/{wallet_address}/ledger",
    operation_id="get_wallet_ledger",
    tags=["wallets"],
    responses=responses(400, 401, 403, 404, 503),
)
async def get_wallet_ledger(
    *,
    wallet_address: WalletAddress,
    caller: CallerDep,
    parts: PartsDep,
    limit: PageSize = 50,
    cursor: Cursor = None,
) -> Ledger:
    """The movements of a wallet's credits, the newest first."""
    entries, next_cursor = await handlers.ledger(wallet_address, limit=limit, cursor=cursor, caller=caller, db=parts.db)
    return Ledger.model_validate({"entries": entries, "next_cursor": next_cursor})


@router.post(
    "/api/wallets/{wallet_address}/grants",
    status_code=201,
    operation_id="grant_credits",
    tags=["wallets"],
    responses=answers(201, "Idempotent-Replayed") | responses(400, 401, 403, 404, 409, 413, 422, 503),
)
async def grant_credits(
    *,
    wallet_address: WalletToFill,
    body: GrantBody,
    key: IdempotencyKey,
    caller: AdminDep,
    parts: PartsDep,
    response: Response,
) -> MovementView:
    """Give credits to a wallet, which is opened if it was never seen. Admins only; once for each reference."""
    recorded = await handlers.move(
        grants.grant, wallet=wallet_address, key=key, caller=caller, db=parts.db, **body.model_dump()
    )
    return _shown(recorded, response)


@router.post(
    "/api/wallets/{wallet_address}/adjustments",
    status_code=201,
    operation_id="adjust_credits",
    tags=["wallets"],
    responses=answers(201, "Idempotent-Replayed") | responses(400, 401, 403, 404, 409, 413, 422, 503),
)
async def adjust_credits(
    *,
    wallet_address: WalletToFill,
    body: AdjustmentBody,
    key: IdempotencyKey,
    caller: AdminDep,
    parts: PartsDep,
    response: Response,
) -> MovementView:
    """Correct a balance, up or down but not below zero. Admins only; once for each reference."""
    recorded = await handlers.move(
        grants.adjust, wallet=wallet_address, key=key, caller=caller, db=parts.db, **body.model_dump()
    )
    return _shown(recorded, response)


def _shown(recorded: Recorded, response: Response) -> MovementView:
    if recorded.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return MovementView.model_validate(recorded, from_attributes=True)


@router.get("/api/prices", operation_id="list_prices", tags=["wallets"], responses=responses(401, 403, 503))
async def list_prices(_: CallerDep, parts: PartsDep) -> PriceList:
    """What each kind of job costs, in credits."""
    return prices.price_list(parts.settings.prices)
