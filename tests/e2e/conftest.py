# SPDX-License-Identifier: Apache-2.0
import contextlib
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import pytest  # noqa: E402

pytest.register_assert_rewrite("crafted", "foreign_tls", "kernel_tls", "session_bench", "target",
                               "tls_papers", "tls_peer", "tls_records")

import kernel_tls  # noqa: E402
import lab  # noqa: E402
from session_bench import Bench  # noqa: E402
from target import Target  # noqa: E402
from tls_papers import Papers  # noqa: E402
from tls_peer import keep  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "forges: sends records that the kernel cannot open")
    # Under nohup(1), or a terminal that is gone, every program would be started deaf to it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def own_network():
    """In a lab kernel: counters that no other test process adds to."""
    with kernel_tls.own_network() if lab.KERNEL else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session")
def kernel_log():
    return kernel_tls.KernelLog()


@pytest.fixture(scope="module", autouse=True)
def no_keys_left(own_network):
    yield
    if lab.KERNEL:
        kernel_tls.no_keys_left()


@pytest.fixture(autouse=True)
def quiet_kernel(request, own_network):
    """In a lab kernel: it complains of nothing, and opened every record that nobody forged."""
    if not lab.KERNEL:
        yield
        return
    log, before = request.getfixturevalue("kernel_log"), lab.tls_statistics()
    yield
    assert log.complaints() == []
    if not request.node.get_closest_marker("forges"):
        assert lab.tls_statistics()["TlsDecryptError"] <= before["TlsDecryptError"]


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


@pytest.fixture(scope="module", params=lab.one_engine())
def bench(request, tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp(f"bench-{request.param}"), request.param)
    keep(made.gateway, made.edge)
    with lab.stopping(made.edge, made.gateway):
        yield made
    made.close()
