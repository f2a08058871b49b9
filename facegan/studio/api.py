"""The studio's functions over HTTP: the page's requests with their types and bounds. The schema is served at /api/openapi.json.

Gradio's own API does not replace this one. There a picture takes a POST, an event stream and a third request for the file, so that neither
a download link on the page nor a single curl command can fetch it, and its schema contains no bounds.

A request that fails is answered with {"error": "expected …; found …; what to do"} and status 422, or 503 if the server is busy.
"""

import threading
from typing import Annotated, Any, Literal

import fastapi
import fastapi.concurrency
import pydantic
from fastapi import Path, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.common.marks import Mark
from facegan.common.pictures import make_grid
from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.exports import Exported
from facegan.studio.generators import Busy
from facegan.studio.origins import Neighbours
from facegan.studio.pictures import write_animation, write_face, write_faces, write_grid, write_png
from facegan.studio.runs import Run
from facegan.studio.service import PREVIEWS, Studio
from facegan.studio.trainings import Training, list_trainings, read_training

routes = fastapi.APIRouter(prefix="/api")
searches = threading.BoundedSemaphore(2)


async def get_studio(request: fastapi.Request) -> Studio:
    """Returns the studio that the application serves."""
    return request.app.state.studio


def files(*media_types: str) -> dict[str, Any]:
    """Returns the options of a route that answers with a file of one of these media types."""
    content = {name: {"schema": {"type": "string", "format": "binary"}} for name in media_types}
    errors = {422: {"description": "what was expected, what was found, what to do"}, 503: {"description": "busy; try again in a moment"}}
    return {"response_class": Response, "responses": {200: {"content": content}, **errors}}


OurStudio = Annotated[Studio, fastapi.Depends(get_studio)]
WallQuery = Annotated[requests.Wall, Query()]
FacesQuery = Annotated[requests.Faces, Query()]
Name = Annotated[str, Path(max_length=64)]
PNG, ZIP = files("image/png"), files("application/zip")


class GeneratorInfo(pydantic.BaseModel):
    """A generator that requests can name."""

    name: str


class FoundInfo(pydantic.BaseModel):
    """The face found for a photo as text, its difference from the photo in levels of 255, and how the photo was cropped."""

    face: str
    root_mean_square_error: float
    cut: str


def add_api(app: fastapi.FastAPI, studio: Studio) -> None:
    """Adds the routes below /api and the handlers that report errors."""
    app.state.studio = studio
    app.include_router(routes)

    @app.exception_handler(FaceganError)
    def report(request: fastapi.Request, error: FaceganError) -> JSONResponse:
        return refuse(str(error), isinstance(error, Busy))

    @app.exception_handler(RequestValidationError)
    def report_invalid(request: fastapi.Request, error: RequestValidationError) -> JSONResponse:
        return refuse(requests.explain(list(error.errors())))


@routes.get("/generators", summary="The available generators")
def list_generators(studio: OurStudio) -> list[GeneratorInfo]:
    return [GeneratorInfo(name=name) for name in studio.generators.known()]


@routes.get("/wall.png", summary="The first faces of a seed as one picture", **PNG)
def draw_wall(studio: OurStudio, query: WallQuery) -> Response:
    return answer(write_grid(studio.draw_wall(query), mark_wall(studio, query)), "image/png")


@routes.get("/wall.zip", summary="The first faces of a seed, one PNG each", **ZIP)
def save_wall(studio: OurStudio, query: WallQuery) -> Response:
    mark = mark_wall(studio, query)
    return answer(write_faces(studio.draw_wall(query), list(mark.faces), mark), "application/zip")


@routes.get("/faces.png", summary="The given faces as one picture", **PNG)
def draw_faces(studio: OurStudio, query: FacesQuery) -> Response:
    faces, mark = studio.draw_faces(query), studio.mark(query.generator, "grid" if query.face[1:] else "face", query.face)
    return answer(write_face(faces[0], mark) if len(faces) == 1 else write_grid(faces, mark), "image/png")


@routes.get("/faces.zip", summary="The given faces, one PNG each", **ZIP)
def save_faces(studio: OurStudio, query: FacesQuery) -> Response:
    names = [face if codes.SEEDED.fullmatch(face) else f"made-here-{number}" for number, face in enumerate(query.face)]
    return answer(write_faces(studio.draw_faces(query), names, studio.mark(query.generator, "grid", query.face)), "application/zip")


@routes.get("/blend.png", summary="A blend of faces; the header X-Face is the result as text", **PNG)
def blend(studio: OurStudio, query: Annotated[requests.Blend, Query()]) -> Response:
    return answer_face(studio, query, *studio.blend(query))


@routes.get("/mix.png", summary="Style mixing: the first layers of one face, the others of a second (StyleGAN2 only)", **PNG)
def mix(studio: OurStudio, query: Annotated[requests.Mix, Query()]) -> Response:
    return answer_face(studio, query, *studio.mix(query))


@routes.get("/move.png", summary="A face moved along the generator's directions", **PNG)
def move(studio: OurStudio, query: Annotated[requests.Move, Query()]) -> Response:
    return answer_face(studio, query, *studio.move(query))


@routes.get("/directions.png", summary=f"A face moved along each direction: one row each, {PREVIEWS} steps from -3 to 3", **PNG)
def preview_directions(studio: OurStudio, query: Annotated[requests.Previews, Query()]) -> Response:
    *_, faces = studio.preview_directions(query)
    picture = make_grid(faces, PREVIEWS)
    return answer(write_png(picture, studio.mark(query.generator, "directions of a face", [query.face])), "image/png")


@routes.get("/walk.{kind}", summary="A walk through faces as a looping animation", **files("image/webp", "image/gif"))
def walk(studio: OurStudio, kind: Literal["webp", "gif"], query: Annotated[requests.Walk, Query()]) -> Response:
    *_, frames = studio.walk(query)
    return answer(write_animation(frames, kind, studio.mark(query.generator, "walk", query.face)), f"image/{kind}")


@routes.get("/trainings", summary="Training runs: running, stopped, and the one in data/model")
def show_trainings(studio: OurStudio) -> list[Training]:
    return [read_training(studio.project, name) for name in list_trainings(studio.project)]


@routes.get("/trainings/{name}/{images_seen}.png", summary="A training run's progress picture after that number of images", **PNG)
def show_progress(studio: OurStudio, name: Name, images_seen: Annotated[int, Path(ge=0)]) -> Response:
    pictures = read_training(studio.project, name).pictures
    if images_seen not in pictures:
        known = ", ".join(map(str, pictures)) or "no"
        raise FaceganError(f"expected a progress picture after {known} images; found {images_seen}; choose one of those")
    return answer(pictures[images_seen].read_bytes(), "image/png")


@routes.get("/runs", summary="The known runs: workspace, DVC experiments, commits")
def show_runs(studio: OurStudio) -> list[Run]:
    return studio.generators.runs


@routes.get("/origins", summary="Distances of the training and held-out photos nearest to a face")
def find_origins(studio: OurStudio, query: FacesQuery) -> Neighbours:
    return studio.find_origins(query)[1]


@routes.post("/find", summary="The generator's face most similar to a photo; the request's body is the photo, the answer's face is text")
async def find(request: fastapi.Request, studio: OurStudio, generator: requests.Generator = "", straighten: bool = True) -> FoundInfo:
    return await fastapi.concurrency.run_in_threadpool(search, studio, generator, await request.body(), straighten)


def search(studio: Studio, generator: str, content: bytes, straighten: bool) -> FoundInfo:
    """Returns the face most similar to a photo. Raises Busy if too many searches are running."""
    if not searches.acquire(blocking=False):
        raise Busy("expected at most 2 searches at a time; found the studio busy; try again in a moment")
    try:
        target, crop = studio.read_target(generator, content, straighten)
        *_, (found, _, text) = studio.find(generator, target)
    finally:
        searches.release()
    return FoundInfo(face=text, root_mean_square_error=found.error, cut=crop)


@routes.post("/export", summary="Creates the export: a folder for the Hugging Face hub, with a page that draws faces offline")
def export(studio: OurStudio, generator: requests.Generator = "") -> Exported:
    return studio.export(generator)


@routes.get("/export/{name}.zip", summary="The exported folder", **ZIP)
def save_export(studio: OurStudio, name: Name) -> Response:
    return answer(studio.exports.read_all(name), "application/zip")


@routes.get("/export/{name}/{file}", summary="A file of the exported folder", **files("application/octet-stream"))
def save_file(studio: OurStudio, name: Name, file: Name) -> Response:
    return answer(studio.exports.read(name, file), "application/octet-stream")


def refuse(message: str, busy: bool = False) -> JSONResponse:
    """Returns the answer to a request that failed."""
    return JSONResponse({"error": message}, 503 if busy else 422, {"Retry-After": "1"} if busy else None)


def answer(content: bytes, media_type: str, **headers: str) -> Response:
    """Returns a file. Browsers must not cache it: the generator in the workspace may change before the next request."""
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-store", **headers})


def answer_face(studio: Studio, query: requests.Request, face: Tensor, text: str) -> Response:
    """Returns a face (3, H, W) in uint8 as a picture, with its text in a header."""
    return answer(write_face(face, studio.mark(query.generator, "face", [text])), "image/png", **{"X-Face": text})


def mark_wall(studio: Studio, query: requests.Wall) -> Mark:
    """Returns the mark of a wall."""
    return studio.mark(query.generator, "grid", query.name_faces())
