"""TensorBoard event files of a running training, where the package ``tensorboard`` is installed; they do not affect the training.

Out: losses, logits and other columns of losses.csv, quick scores and progress pictures by images seen, in ``tensorboard/`` next to the
run's checkpoints. A resumed run adds a file, and TensorBoard drops what was written after the checkpoint.
"""

import importlib.util
import time
from pathlib import Path
from typing import Any

from facegan.training.trainer import Trainer

FLUSH_SECONDS = 10


class Events:
    """A context manager that writes event files.

    Args:
        folder: where; None: nothing is written.
        trainer: at the start of this call; its rows and scores so far are in earlier files.
    """

    def __init__(self, folder: Path | None, trainer: Trainer):
        self.writer: Any = None
        if folder and importlib.util.find_spec("tensorboard"):
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            # TensorBoard reads the files in the order of their names, which start with the second of their creation
            latest = max((int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*")), default=0)
            time.sleep(min(1.0, max(0.0, latest + 1 - time.time())))
            try:
                self.writer = EventFileWriter(str(folder), flush_secs=FLUSH_SECONDS)
            except OSError as error:
                print(f"no event files for TensorBoard: {error}", flush=True)
        self._start(trainer)

    def _start(self, trainer: Trainer) -> None:
        """Continues from the trainer's state: TensorBoard drops later events."""
        self.rows, self.scores = len(trainer.rows), len(trainer.scores)
        self._write(trainer.images_seen, session_log={"status": "START"})

    def update(self, trainer: Trainer) -> None:
        """Writes the rows and quick scores since the last call."""
        if len(trainer.rows) < self.rows:  # rewound
            self._start(trainer)
        for row in trainer.rows[self.rows :]:
            values = [{"tag": name, "simple_value": value} for name, value in row.items() if name != "images_seen"]
            self._write(int(row["images_seen"]), summary={"value": values})
        for score in trainer.scores[self.scores :]:
            self._write(int(score["images_seen"]), summary={"value": [{"tag": "quick_score", "simple_value": score["score"]}]})
        self.rows, self.scores = len(trainer.rows), len(trainer.scores)

    def add_picture(self, images_seen: int, path: Path) -> None:
        """Writes a progress picture, a PNG file."""
        if self.writer:
            self._write(images_seen, summary={"value": [{"tag": "faces", "image": {"encoded_image_string": path.read_bytes()}}]})

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer:
            self.writer.close()

    def _write(self, images_seen: int, **content: Any) -> None:
        """Writes an event. A full disk ends the event files, not the training."""
        if not self.writer:
            return
        from tensorboard.compat.proto.event_pb2 import Event

        try:
            self.writer.add_event(Event(wall_time=time.time(), step=images_seen, **content))
        except OSError as error:
            print(f"no more event files for TensorBoard: {error}", flush=True)
            self.writer = None
