"""The studio's functions by HTTP, typed: the same requests as the page's. The schema stands at /api/openapi.json.

A request that cannot be answered gets one line, {"error": "expected …; found …; what to do"}, with status 422, or 503 when too
many ask at once.
"""

import threading
from typing import Annotated, Any, Literal

import fastapi
import fastapi.concurrency
import pydantic
from fastapi import Path, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from facegan.common.errors import FaceganError
from facegan.common.pictures import make_grid
from facegan.sampling import codes
from facegan.studio import requests
from facegan.studio.generators import Busy
from facegan.studio.photos import MOST_BYTES
from facegan.studio.pictures import write_animation, write_face, write_faces, write_grid, write_png
from facegan.studio.service import PREVIEWS, Studio
from facegan.studio.trainings import list_trainings, read_training

MOST_SEARCHES = 2
Name = Annotated[str, Path(max_length=64)]
ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"description": "what was expected, what was found, what to do"},
    503: {"description": "busy; try again in a moment"},
}


class GeneratorInfo(pydantic.BaseModel):
    """A generator that can be asked for."""

    name: str


class TrainingInfo(pydantic.BaseModel):
    """How a training goes."""

    name: str
    state: Literal["running", "stopped", "finished"]
    images_seen: int
    images: int
    images_per_second: float | None
    seconds_left: float | None
    warnings: list[str]
    rows: dict[str, list[float]]
    scores: dict[str, list[float]]


class RunInfo(pydantic.BaseModel):
    """A run: what it was told, how it scored."""

    name: str
    title: str
    parameters: dict[str, Any]
    scores: dict[str, float]
    protocol: str | None


class OriginsInfo(pydantic.BaseModel):
    """How near the nearest photos are, over what, among how many, and whether the generator learned from them."""

    space: str
    train_distances: list[float]
    holdout_distances: list[float]
    searched: tuple[int, int]
    same_data: bool


class FoundInfo(pydantic.BaseModel):
    """The face found for a photo: its text, its difference in levels of 255, and how the photo was cut out."""

    face: str
    root_mean_square_error: float
    cut: str


class ExportInfo(pydantic.BaseModel):
    """An export: its name, the sizes of its files in bytes, and what is to say of them."""

    name: str
    sizes: dict[str, int]
    words: list[str]


def files(*kinds: str) -> dict[str, Any]:
    """Returns what FastAPI is told of a route that answers with a file of one of these media types."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}
    return {"response_class": Response, "responses": {200: {"content": content}, **ERRORS}}


def add_interface(app: fastapi.FastAPI, studio: Studio) -> None:
    """Adds the routes below /api, and how errors are told."""
    routes = fastapi.APIRouter(prefix="/api")
    for add in (add_walls, add_changes, add_trainings, add_runs, add_search, add_exports):
        add(routes, studio)
    app.include_router(routes)

    @app.exception_handler(FaceganError)
    def tell(request: fastapi.Request, error: FaceganError) -> JSONResponse:
        return refuse(str(error), isinstance(error, Busy))

    @app.exception_handler(RequestValidationError)
    def explain(request: fastapi.Request, error: RequestValidationError) -> JSONResponse:
        return refuse(requests.explain(list(error.errors())))


def add_walls(routes: fastapi.APIRouter, studio: Studio) -> None:
    """Adds the generators and the faces that they draw."""

    @routes.get("/generators", summary="The generators that can be asked for")
    def list_generators() -> list[GeneratorInfo]:
        return [GeneratorInfo(name=name) for name in studio.generators.known()]

    @routes.get("/wall.png", summary="A seed's first faces as one picture", **files("image/png"))
    def draw_wall(asked: Annotated[requests.Wall, Query()]) -> Response:
        return answer(write_grid(studio.draw_wall(asked)), "image/png")

    @routes.get("/wall.zip", summary="A seed's first faces, one PNG each", **files("application/zip"))
    def save_wall(asked: Annotated[requests.Wall, Query()]) -> Response:
        return answer(write_faces(studio.draw_wall(asked), codes.name_faces(asked.seed, asked.count, asked.truncation)), "application/zip")

    @routes.get("/faces.png", summary="Some faces as one picture", **files("image/png"))
    def draw_faces(asked: Annotated[requests.Faces, Query()]) -> Response:
        faces = studio.draw_faces(asked)
        return answer(write_face(faces[0]) if len(faces) == 1 else write_grid(faces), "image/png")

    @routes.get("/faces.zip", summary="Some faces, one PNG each", **files("application/zip"))
    def save_faces(asked: Annotated[requests.Faces, Query()]) -> Response:
        names = [face if codes.SEEDED.fullmatch(face) else f"made-here-{number}" for number, face in enumerate(asked.face)]
        return answer(write_faces(studio.draw_faces(asked), names), "application/zip")


def add_changes(routes: fastapi.APIRouter, studio: Studio) -> None:
    """Adds what is made of faces: blends, mixes, moves, walks."""

    @routes.get("/blend.png", summary="A face between others; the header X-Face is its text", **files("image/png"))
    def blend(asked: Annotated[requests.Blend, Query()]) -> Response:
        return answer_face(*studio.blend(asked))

    @routes.get(
        "/mix.png", summary="Style mixing: the first layers of one face, the others of a second (StyleGAN2 alone)", **files("image/png")
    )
    def mix(asked: Annotated[requests.Mix, Query()]) -> Response:
        return answer_face(*studio.mix(asked))

    @routes.get("/move.png", summary="A face moved along the generator's directions", **files("image/png"))
    def move(asked: Annotated[requests.Move, Query()]) -> Response:
        return answer_face(*studio.move(asked))

    @routes.get(
        "/directions.png", summary=f"A face moved along each direction: a row each, {PREVIEWS} steps from -3 to 3", **files("image/png")
    )
    def preview_directions(asked: Annotated[requests.Previews, Query()]) -> Response:
        return answer(write_png(make_grid(studio.preview_directions(asked).flatten(0, 1), PREVIEWS)), "image/png")

    @routes.get("/walk.{kind}", summary="A walk through faces, as an endless animation", **files("image/webp", "image/gif"))
    def walk(kind: Literal["webp", "gif"], asked: Annotated[requests.Walk, Query()]) -> Response:
        return answer(write_animation(studio.walk(asked), kind), f"image/{kind}")


def add_trainings(routes: fastapi.APIRouter, studio: Studio) -> None:
    """Adds the trainings and their progress pictures."""

    @routes.get("/trainings", summary="Trainings that run, were stopped, or left the workspace's generator")
    def show_trainings() -> list[TrainingInfo]:
        trainings = (read_training(studio.project, name) for name in list_trainings(studio.project))
        return [TrainingInfo.model_validate(training, from_attributes=True) for training in trainings]

    @routes.get("/trainings/{name}/{images_seen}.png", summary="A training's progress picture after so many images", **files("image/png"))
    def show_progress(name: Name, images_seen: Annotated[int, Path(ge=0)]) -> Response:
        pictures = read_training(studio.project, name).pictures
        if images_seen not in pictures:
            raise FaceganError(
                f"expected a progress picture after {', '.join(map(str, pictures)) or 'no'} images; found {images_seen}; choose one of those"
            )
        return answer(pictures[images_seen].read_bytes(), "image/png")


def add_runs(routes: fastapi.APIRouter, studio: Studio) -> None:
    """Adds the runs, and the photos nearest to a face."""

    @routes.get("/runs", summary="The runs known here: the workspace, DVC experiments, commits")
    def show_runs() -> list[RunInfo]:
        return [RunInfo.model_validate(run, from_attributes=True) for run in studio.generators.runs]

    @routes.get("/origins", summary="The training and held-out photos nearest to a face: their distances")
    def find_origins(asked: Annotated[requests.Faces, Query()]) -> OriginsInfo:
        return OriginsInfo.model_validate(studio.find_origins(asked)[1], from_attributes=True)


def add_search(routes: fastapi.APIRouter, studio: Studio) -> None:
    """Adds the search for the face most like a photo."""
    searching = threading.BoundedSemaphore(MOST_SEARCHES)

    @routes.post(
        "/find", summary="The face most like a photo, whose bytes are the request's body; the answer's face goes to the other calls"
    )
    async def find(request: fastapi.Request, generator: requests.Generator = "", straighten: bool = True) -> FoundInfo:
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                raise FaceganError(f"expected a photo of at most {MOST_BYTES:,} bytes; found more; save it smaller")
        return await fastapi.concurrency.run_in_threadpool(seek, generator, bytes(content), straighten)

    def seek(generator: str, content: bytes, straighten: bool) -> FoundInfo:
        if not searching.acquire(blocking=False):
            raise Busy(f"expected at most {MOST_SEARCHES} searches at once; found the studio busy; try again in a moment")
        try:
            target, words = studio.read_target(generator, content, straighten)
            *_, (found, _, text) = studio.find(generator, target)
        finally:
            searching.release()
        return FoundInfo(face=text, root_mean_square_error=found.error, cut=words)


def add_exports(routes: fastapi.APIRouter, studio: Studio) -> None:
    """Adds the exported folder and its files."""

    @routes.post("/export", summary="Makes the folder for the Hugging Face hub and the page that draws faces by itself")
    def export(generator: requests.Generator = "") -> ExportInfo:
        return ExportInfo.model_validate(studio.export(generator), from_attributes=True)

    @routes.get("/export/{name}.zip", summary="The exported folder", **files("application/zip"))
    def save_export(name: Name) -> Response:
        return answer(studio.exports.read_all(name), "application/zip")

    @routes.get("/export/{name}/{file}", summary="A file of the exported folder", **files("application/octet-stream"))
    def save_file(name: Name, file: Name) -> Response:
        return answer(studio.exports.read(name, file), "application/octet-stream")


def refuse(words: str, busy: bool = False) -> JSONResponse:
    """Returns the answer to what cannot be done."""
    return JSONResponse({"error": words}, 503 if busy else 422, {"Retry-After": "1"} if busy else None)


def answer(content: bytes, kind: str, **headers: str) -> Response:
    """Returns a file. It is not kept: the workspace's generator may be another one by the next question."""
    return Response(content, media_type=kind, headers={"Cache-Control": "no-store", **headers})


def answer_face(face: Any, text: str) -> Response:
    """Returns a face (3, H, W) in uint8, and in a header its text."""
    return answer(write_face(face), "image/png", **{"X-Face": text})
