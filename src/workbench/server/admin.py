"""The admin API: keys of callers, under a token of its own. FastAPI is owned by the modules of routes."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from workbench.server.administrator import Administrator
from workbench.server.virtual_keys import VirtualKey, VirtualKeys


class NewKey(BaseModel):
    """A virtual key to make. Left out: no limit."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)]
    tenant: Annotated[str, Field(min_length=1, max_length=100)] = "default"
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


def admin_routes(keys: VirtualKeys, administrator: Administrator) -> APIRouter:
    """All routes below `/admin`; each asks for an admin token first."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(administrator)], tags=["admin"])

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
            raise HTTPException(404, "there is no such key")

    return router


def _shown(key: VirtualKey) -> KeyShown:
    return KeyShown(**asdict(key) | {"models": list(key.models)})
