"""The studio's own addresses beside gradio's: jobs, files by reference, its script and style."""

# pyright: reportMissingImports=false
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse

from foundation.errors import UserError
from music_diffusion.studio.clips import describe_job
from music_diffusion.studio.studio import Studio

HERE = Path(__file__).parent
STATIC = ("studio.js", "studio.css")
LISTED = 40  # jobs
ALONE = "sandbox allow-scripts; frame-ancestors 'self'"  # a page in a folder can't use the studio


def server(studio: Studio) -> FastAPI:
    """Return the server, without gradio's page."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(UserError)
    async def refused(request: Request, error: Exception) -> Response:
        missing = isinstance(error, FileNotFoundError)
        return PlainTextResponse(studio.say(error), 404 if missing else 400)

    @app.get("/studio/jobs")
    def jobs() -> Response:
        found = studio.jobs.newest(LISTED)
        return JSONResponse([describe_job(job, studio.jobs, studio.clips) for job in found])

    @app.post("/studio/uploads")
    async def upload(name: str, request: Request) -> Response:
        with studio.uploads.receiving(name) as received:
            with received.open("wb") as file:
                async for part in request.stream():
                    file.write(part)
            reference = await run_in_threadpool(studio.uploads.take, received, name)
        return JSONResponse(await run_in_threadpool(studio.clips.describe, reference))

    @app.api_route("/studio/files/{reference:path}", methods=["GET", "HEAD"])
    def file(reference: str) -> Response:
        path = studio.library.file(reference)
        headers = {"content-security-policy": ALONE} if path.suffix == ".html" else {}
        return FileResponse(path, headers=headers)

    @app.get("/studio/tests/{name}")
    def test(name: str) -> Response:
        return JSONResponse(studio.listening.state(name))

    @app.post("/studio/tests/{name}/{trial}/{choice}")
    def vote(name: str, trial: int, choice: str) -> Response:
        studio.listening.tests.vote(name, trial, choice)
        return JSONResponse(studio.listening.state(name))

    @app.get("/studio/tests/{name}/votes.csv")
    def votes(name: str) -> Response:
        found = studio.listening.tests.find(name)
        path = studio.listening.tests.folder / f"{found.name}.csv"
        return FileResponse(path, filename="votes.csv")

    @app.get("/studio/tests/{name}/{trial}/{side}")
    def heard(name: str, trial: int, side: int) -> Response:
        path = studio.listening.clip(name, trial, side)
        return FileResponse(path, headers={"cache-control": "no-store"})

    @app.get("/studio/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            return PlainTextResponse("there is no such page", 404)
        return FileResponse(HERE / name, headers={"cache-control": "no-cache"})

    return app
