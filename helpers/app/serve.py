"""The predictor over HTTP, for other programs; needs the extra ``serve``."""

import io
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

from helpers.errors import UserError

LONGEST_S = 600.0
LARGEST_MB = 50
_MODEL = "SER_SERVED_MODEL"  # how the processes of the workers are told
_CONNECTIONS = 64  # of a worker; whoever comes next is told to come again (503)


def serve(model: Path, *, port: int, workers: int) -> None:
    """Serve ``model`` on this machine until it is stopped from the keyboard.

    To other machines it is served behind a proxy, which does https and passwords.

    Raises
    ------
    UserError
        The extra is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError(f'{error}: pip install -e ".[serve]"') from error

    os.environ[_MODEL] = str(model)
    print(f"ser serve: http://127.0.0.1:{port}/docs (stop with Ctrl+C)", file=sys.stderr)
    options: dict = {"port": port, "workers": workers, "limit_concurrency": _CONNECTIONS}
    uvicorn.run("helpers.app.serve:make_app", factory=True, log_level="warning", **options)


def make_app():
    """The application of one worker, which loads its model before it takes a request."""
    from fastapi import FastAPI, Request, UploadFile
    from fastapi.responses import JSONResponse

    from helpers.models.prediction import Predictor, to_records
    from helpers.models.training import prepare_keras

    prepare_keras(0)
    predictor = Predictor(os.environ[_MODEL])

    @asynccontextmanager
    async def warm_up(_app):
        predictor.warm_up()
        yield

    app = FastAPI(title="Which emotion was heard?", lifespan=warm_up)

    @app.middleware("http")
    async def refuse_large(request: Request, answer):
        # Without a length, a body could go on for ever.
        size = request.headers.get("content-length", "" if request.method == "POST" else "0")
        if not size.isdecimal() or int(size) > LARGEST_MB * 2**20:
            words = f"Expected a recording of at most {LARGEST_MB} MB, and its Content-Length."
            return JSONResponse({"detail": words}, status_code=413)
        return await answer(request)

    @app.get("/health")
    def say_health() -> dict:
        """Whether it answers, and which model does."""
        return {"status": "ok", "model": predictor.card["name"]}

    @app.post("/predict", responses={422: {"description": "No recording; `error` says why."}})
    def predict(file: UploadFile):
        """Estimate the emotion in a recording of any format and of up to ten minutes.

        The answer is what `ser predict --json` says: `emotion`, which is empty where `reason` or
        `error` says why, its `confidence`, whether it is `sure`, and a probability for each.
        """
        sound = io.BytesIO(file.file.read())
        sound.name = file.filename or "recording"
        row = to_records(predictor.predict_files(sound, longest_s=LONGEST_S))[0]
        return JSONResponse(row, status_code=422 if row["error"] else 200)

    return app
