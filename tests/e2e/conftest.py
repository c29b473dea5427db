# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import pytest  # noqa: E402

import lab  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    lab.kill_leftovers()
