"""What several files of tests on the emotion model use."""

import pytest
from toys import tiny


@pytest.fixture(scope="module")
def model():
    return tiny()
