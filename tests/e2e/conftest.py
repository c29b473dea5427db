# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import pytest  # noqa: E402

pytest.register_assert_rewrite("session_bench", "target", "tls_papers", "tls_peer", "tls_records")

import lab  # noqa: E402
from session_bench import Bench  # noqa: E402
from target import Target  # noqa: E402
from tls_papers import Papers  # noqa: E402
from tls_peer import keep  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    lab.kill_leftovers()


@pytest.fixture(scope="session")
def papers(tmp_path_factory):
    return Papers(tmp_path_factory.mktemp("papers"))


def untouched_target(folder, papers, **deadlines):
    made = Target(folder, papers, **deadlines)
    keep(made.gateway, made.plc)
    with lab.stopping(made.gateway, made.plc):
        yield made
    assert made.plc.events() == []


@pytest.fixture(scope="module")
def target(tmp_path_factory, papers):
    """Its deadlines are for no test to meet: whatever ends a session is what the test did."""
    yield from untouched_target(tmp_path_factory.mktemp("target"), papers, handshake=10,
                                proxy_header=10)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory, papers):
    """The one for tests that wait for a deadline."""
    yield from untouched_target(tmp_path_factory.mktemp("hasty"), papers, handshake=1,
                                proxy_header=0.4)


@pytest.fixture(scope="module", params=["auto", "epoll"])
def bench(request, tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp(f"bench-{request.param}"), request.param)
    keep(made.gateway, made.edge)
    with lab.stopping(made.edge, made.gateway):
        yield made
    made.close()
