"""params.yaml. Each section is documented next to the code that reads it, in the module ``parameters`` of its package.

Every stage reads the complete file, so that a wrong value in the section of a later stage is reported by the first one.
"""

from collections.abc import Iterator
from pathlib import Path

from facegan.common.config import Section, read_values, read_yaml
from facegan.models.parameters import WITHOUT_LABELS, ModelParameters, find_conflicts
from facegan.photos.parameters import DataParameters
from facegan.preprocessing.parameters import PreprocessParameters
from facegan.sampling.parameters import SampleParameters
from facegan.scoring.parameters import EvaluateParameters
from facegan.training.parameters import TrainParameters


class Parameters(Section):
    """One experiment."""

    data: DataParameters
    preprocess: PreprocessParameters
    model: ModelParameters
    train: TrainParameters
    sample: SampleParameters
    evaluate: EvaluateParameters

    def problems(self) -> Iterator[str]:
        """Yields conflicts between sections."""
        yield from find_conflicts(self.model, self.preprocess.resolution, self.train.penalty_stride)
        if self.data.labels and self.model.name in WITHOUT_LABELS:
            yield f"data.labels: expected null for {self.model.name}, which has no labels; found {', '.join(self.data.labels)}"


def read_parameters(path: Path) -> Parameters:
    """Returns the parameters in a file.

    Raises:
        FaceganError: no such file, or not a YAML mapping.
        ConfigurationError: all problems.
    """
    return read_values(Parameters, read_yaml(path), path.name)
