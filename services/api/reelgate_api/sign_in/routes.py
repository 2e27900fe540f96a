"""HTTP in: signing in with a wallet, and out."""

from fastapi import APIRouter

from reelgate_api.dependencies import CallerDep, PartsDep, Token
from reelgate_api.problems import responses
from reelgate_api.sign_in import handlers
from reelgate_api.sign_in.schemas import CallerView, Nonce, SessionView, SignInBody
from reelgate_common import auth

router = APIRouter(prefix="/api/auth", tags=["sign-in"])


@router.get("/caller", operation_id="get_caller", responses=responses(401, 403, 503))
async def get_caller(caller: CallerDep) -> CallerView:
    """What the credential of this request may do."""
    return CallerView(
        scopes=[scope for scope in auth.SCOPES if caller.may(scope)],
        wallets=list(caller.wallets) if caller.wallets is not None else None,
        is_session=caller.is_session,
        is_admin=caller.is_admin,
    )


@router.post("/nonce", operation_id="create_nonce", responses=responses(404, 503))
async def create_nonce(parts: PartsDep) -> Nonce:
    """A nonce for one EIP-4361 message. For anyone."""
    nonce, expires_at = await handlers.make_nonce(db=parts.db, settings=parts.settings)
    return Nonce(nonce=nonce, expires_at=expires_at)


@router.post("/sign-in", operation_id="sign_in", responses=responses(400, 401, 404, 413, 429, 503))
async def sign_in(body: SignInBody, parts: PartsDep) -> SessionView:
    """Open a session with a signed EIP-4361 message. Its token stands where an API key would; for anyone."""
    session = await handlers.sign_in(
        body.message,
        body.signature,
        db=parts.db,
        settings=parts.settings,
        limiter=parts.limiter,
        alone=parts.signatures,
    )
    return SessionView.model_validate(session, from_attributes=True)


@router.delete("/session", status_code=204, operation_id="sign_out", responses=responses(401, 403, 503))
async def sign_out(token: Token, caller: CallerDep, parts: PartsDep) -> None:
    """End the session that is sent with this request, at once."""
    await handlers.sign_out(token, caller=caller, db=parts.db)
