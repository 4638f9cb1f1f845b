"""What administrators ask, and the OpenAPI document, as a FastAPI app, which takes long to load."""

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from workbench import __version__
from workbench.server.admin import admin_routes
from workbench.server.bodies import encoded, first_problem
from workbench.server.exchange import Refusal, Wire
from workbench.server.experiment_routes import experiment_routes
from workbench.server.failures import answer, handlers
from workbench.server.foundation import Foundation
from workbench.server.gateway import Gateway
from workbench.server.openapi import document


def administration(gateway: Gateway, kept: Foundation, wires: Sequence[Wire]) -> FastAPI:
    """The app; its document describes the `wires` and all else that is served, too."""
    app = FastAPI(
        title="Workbench",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={**handlers(), RequestValidationError: _answered},
    )
    app.include_router(admin_routes(kept.keys, kept.admins, gateway))
    app.include_router(experiment_routes(kept.experiments, gateway.targets))

    written = encoded(document(app, wires))
    app.add_route("/openapi.json", lambda _: Response(written, media_type="application/json"))
    return app


async def _answered(_: Request, exc: RequestValidationError) -> Response:
    return answer(Refusal(400, "invalid_request", first_problem(exc.errors())))
