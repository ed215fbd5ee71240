"""The page /docs: Swagger UI from this server, whose forms begin empty."""

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

STATIC_URL = "/static-offline-docs"

# Swagger UI fills each field of a form from its example. Sent along, examples of a language or a prompt ruin
# the transcript.
_EMPTY_FORMS = """\
    plugins: [() => ({
        wrapComponents: {
            JsonSchemaForm: (Original, system) => (props) => system.React.createElement(
                Original,
                "dispatchInitialValue" in props ? {...props, dispatchInitialValue: false} : props,
            ),
        },
    })],
    presets: ["""


def add_docs_page(app: FastAPI) -> None:
    """Add /docs, with the files that `fastapi_offline` serves."""

    @app.get("/docs", include_in_schema=False)
    async def read_docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=app.title,
            swagger_js_url=f"{root}{STATIC_URL}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{STATIC_URL}/swagger-ui.css",
            swagger_favicon_url=f"{root}{STATIC_URL}/favicon.png",
            swagger_ui_parameters={"defaultModelsExpandDepth": 0},
        )
        return HTMLResponse(bytes(page.body).decode().replace("    presets: [", _EMPTY_FORMS, 1))
