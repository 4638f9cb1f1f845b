"""The admin API: keys of callers, under a token of its own. FastAPI is owned by the modules of routes."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from workbench.errors import ConfigError
from workbench.server.admin_tokens import AdminTokens
from workbench.server.exchange import Refusal
from workbench.server.gateway import Gateway
from workbench.server.targets import Targets
from workbench.server.usage import By
from workbench.server.virtual_keys import VirtualKey, VirtualKeys

_NAME = r"^[^\x00-\x1f\x7f]{1,100}$"
"""Text without control characters."""


class NewKey(BaseModel):
    """A virtual key to make. Left out: no limit."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=_NAME)]
    tenant: Annotated[str, Field(pattern=_NAME)] = "default"
    budget_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    requests_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    models: Annotated[list[str], Field(max_length=1000)] = Field(default_factory=list)
    expires_at: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class KeyShown(BaseModel):
    """A virtual key as it is listed; its token is not kept. Times are Unix seconds."""

    key_id: str
    name: str
    tenant: str
    budget_usd: float | None
    requests_per_minute: float | None
    models: list[str]
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class KeyMade(KeyShown):
    """A new key with its token, which is shown this once."""

    token: str


class TokenShown(BaseModel):
    """An admin token as it is listed: the middle of it, which is no secret."""

    token_id: str
    created_at: float


class TokenMade(BaseModel):
    """A new admin token, which is shown this once."""

    token_id: str
    token: str


class UsageShown(BaseModel):
    """What one group of requests was."""

    group: str
    n_requests: int
    n_errors: int
    cost_usd: float
    input_tokens: int
    output_tokens: int


class TargetShown(BaseModel):
    """What callers may name; `version` is that of a router, `problem` why it could not be loaded anew."""

    name: str
    candidates: list[str]
    version: str
    problem: str | None


class ChannelShown(BaseModel):
    """A model as it is reached through one account of its provider; the account is a variable's name."""

    provider: str
    model: str
    account: str
    breaker: str


def admin_routes(keys: VirtualKeys, admins: AdminTokens, gateway: Gateway) -> APIRouter:
    """The routes below `/admin`, but those of experiments; `administrator` has asked for a token."""
    router = APIRouter(prefix="/admin", tags=["admin"])

    @router.get("/keys")
    def list_keys() -> list[KeyShown]:
        """Every virtual key, the newest first."""
        return [_shown(key) for key in keys.listed()]

    @router.post("/keys", status_code=201)
    def create_key(wanted: NewKey) -> KeyMade:
        """Make a virtual key; its token is in this answer and nowhere else."""
        key, made = keys.create(**wanted.model_dump())
        return KeyMade(**_shown(key).model_dump(), token=made.token.get_secret_value())

    @router.delete("/keys/{key_id}", status_code=204)
    def revoke_key(key_id: str) -> None:
        """Let a virtual key work no more."""
        if not keys.revoke(key_id):
            raise Refusal(404, "key_not_found", "there is no such key")

    @router.get("/tokens")
    def list_tokens() -> list[TokenShown]:
        """Every admin token that works, the newest first."""
        return [TokenShown(**asdict(one)) for one in admins.listed()]

    @router.post("/tokens", status_code=201)
    def create_token() -> TokenMade:
        """Make one more admin token; it is in this answer and nowhere else."""
        made = admins.create()
        return TokenMade(token_id=made.token_id, token=made.token.get_secret_value())

    @router.delete("/tokens/{token_id}", status_code=204)
    def revoke_token(token_id: str) -> None:
        """Let an admin token work no more; the last one stays."""
        try:
            is_done = admins.revoke(token_id)
        except ConfigError as exc:
            raise Refusal(409, "last_token", str(exc)) from None
        if not is_done:
            raise Refusal(404, "token_not_found", "there is no such token")

    @router.get("/usage")
    def usage(
        by: By = "key_id", since: Annotated[float, Query(ge=0, le=1e12, allow_inf_nan=False)] = 0.0
    ) -> list[UsageShown]:
        """What was served since a Unix time, in groups, the dearest first."""
        return [UsageShown(**asdict(total)) for total in gateway.log.totals(by=by, since=since)]

    @router.get("/targets")
    def list_targets() -> list[TargetShown]:
        """Every model and router that callers may name."""
        return _targets(gateway.targets)

    @router.post("/targets/reload")
    async def reload_targets() -> list[TargetShown]:
        """Load every router again, now; one that cannot be loaded stays as it was."""
        await gateway.targets.reload()
        return _targets(gateway.targets)

    @router.get("/providers")
    async def list_providers() -> list[ChannelShown]:
        """Every model and account that was asked so far, and whether it is asked now."""
        return [
            ChannelShown(provider=one.provider, model=one.model, account=one.account, breaker=breaker.state)
            for one, breaker in gateway.client.breakers.items()
        ]

    return router


def _targets(targets: Targets) -> list[TargetShown]:
    return [
        TargetShown(
            name=name,
            candidates=list(target.candidates),
            version=target.version,
            problem=targets.problems.get(name.removeprefix("router:")),
        )
        for name, target in targets.items()
    ]


def _shown(key: VirtualKey) -> KeyShown:
    return KeyShown(**asdict(key) | {"models": list(key.models)})
