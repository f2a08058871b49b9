"""All of params.yaml. Each section is defined in the module ``parameters`` of its package.

Every stage validates the complete file, so that a wrong number in a later section is reported before hours are spent.
"""

from pathlib import Path

from facegan.common.config import Section, read_values, read_yaml
from facegan.models.parameters import ModelParameters
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


def read_parameters(path: Path) -> Parameters:
    """Returns the parameters in a file.

    Raises:
        FaceganError: no such file, or not a YAML mapping.
        ConfigurationError: all problems.
    """
    return read_values(Parameters, read_yaml(path), path.name)
