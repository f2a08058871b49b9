import pytest
from small_runs import SmallRuns


@pytest.fixture
def runs(tmp_path):
    return SmallRuns(tmp_path)
