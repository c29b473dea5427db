#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How mcseald starts, or says why it does not: faults of the file, of certificates, of the system."""
import pathlib
import re
import socket
import sys

import pytest

import lab


def mcseald(*words, **options):
    return lab.run(lab.BUILD / "mcseald", *words, check=False, **options)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = lab.Pki(tmp_path_factory.mktemp("pki") / "pki")
    made.at_gateway, made.at_edge = made.gateway(), made.edge("office")
    return made


def text(pki, port, certificate=None, key=None, ca=None, crl=None, head=""):
    return f"""mark = 0
{head}
plc "press" {{ address = "127.0.0.1" port "5007" {{ }} }}
identity "ana" {{ match = {{ "cn:ana" }} plcs = {{ "press" }} }}
gateway "plant" {{
	listen = "127.0.0.1:{port}"
	certificate = "{certificate or pki.at_gateway.certificate}"
	key = "{key or pki.at_gateway.key}"
	ca = "{ca or pki.ca}"
	crl = "{crl or pki.crl}"
}}
"""


# --- the file ------------------------------------------------------------------------------------


def test_good_file(tmp_path, pki):
    path = tmp_path / "good.conf"
    path.write_text(text(pki, 1))
    result = mcseald("--check", path)
    assert (result.returncode, result.stdout) == (0, f"{path}: ok\n")


MISTAKES = """mark = maybe
workers = 1000
plc "press-1" {
	address = "press.plant.example"
	port "70000" { }
}
plc "press-2" {
	address = "10.30.0.11"
	port "5007" { protocol = opaque }
	colour = green
}
identity "ana" {
	match = { "uri:", "name:ana" }
	plcs = { "press-9" }
}
gateway "plant" {
	listen = { "0.0.0.0:8443", "nowhere" }
	certificate = "/nonexistent/gateway.pem"
	key = "/nonexistent/gateway.key"
}
edge "office" {
	listen = "127.0.0.1:15007"
	route "plant" { destinations = "10.30.0.0/33:5007" gateways = "10.20.0.2" }
}
"""
WHERE = {1: "mark", 2: "workers", 4: "address", 5: "70000", 9: "opaque", 10: "colour",
         13: "name:ana", 14: "press-9", 17: "nowhere", 18: "gateway.pem", 19: "gateway.key",
         23: "10.30.0.0/33"}


def test_every_mistake_at_once(tmp_path):
    path = tmp_path / "wrong.conf"
    path.write_text(MISTAKES)
    result = mcseald("--check", path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    found = {}
    for line in lines:
        match = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (error|warning): (.+)", line)
        assert match, line
        found.setdefault(int(match.group(1)), []).append(match.group(3))
    for number, word in WHERE.items():
        assert any(word in message for message in found.get(number, [])), (number, word, lines)
    assert list(found) == sorted(found)  # in the order of the file
    # What --check says, a start says, too.
    assert mcseald(path).stdout == result.stdout


@pytest.mark.parametrize("content", ["gateway {", 'plc "a" { address = "10.0.0.1', "\0\0\0", "= = =",
                                     "include(\"/etc/passwd\")", "}"])
def test_broken_syntax_has_a_line(tmp_path, content):
    path = tmp_path / "broken.conf"
    path.write_text(f"# one\n{content}\n")
    result = mcseald("--check", path)
    assert result.returncode == 1
    assert re.match(rf"{re.escape(str(path))}(:[1-9]\d*)?: error: ", result.stdout), result.stdout


def test_no_file():
    """Without arguments it is /etc/mcseal/mcseald.conf, which this machine must not have."""
    default = "/etc/mcseal/mcseald.conf"
    assert not pathlib.Path(default).exists(), "these tests are not for a machine in use"
    for words in ((), ("--check",)):
        result = mcseald(*words)
        assert result.returncode == 1
        assert result.stdout.startswith(f"{default}: error: cannot read the file (No such file or "
                                        "directory)"), result.stdout


def test_too_many_files(tmp_path):
    result = mcseald("a.conf", "b.conf")
    assert result.returncode == 64 and "one configuration file, not two" in result.stdout


# --- certificates --------------------------------------------------------------------------------


def faulty_certificates(folder, pki):
    """Name: (what of the credentials is replaced by what, what must be said about which file)."""
    good = pki.at_gateway
    garbage = folder / "garbage.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n")
    nothing = folder / "nothing.pem"
    nothing.write_text("")
    for path in (garbage, nothing):
        path.chmod(0o600)
    past = pki.gateway("past", ["127.0.0.1"], (), "--not-before", "2020-01-01", "--not-after",
                       "2021-01-01")
    future = pki.gateway("future", ["127.0.0.1"], (), "--not-before", "2034-01-01", "--not-after",
                         "2035-01-01")
    other = pki.gateway("other", ["127.0.0.1"])
    rsa = pki.gateway("rsa", ["127.0.0.1"], (), "--rsa")
    locked = folder / "locked.key"
    lab.run("openssl", "pkey", "-in", good.key, "-aes256", "-passout", "pass:a123", "-out", locked)
    locked.chmod(0o600)
    return {
        "wrong-key": ({"key": other.key}, other.key, "not the key of the certificate"),
        "other-kind": ({"key": rsa.key}, rsa.key, "not the key of the certificate"),
        "locked-key": ({"key": locked}, locked, "without pass phrase"),
        "garbage-key": ({"key": garbage}, garbage, "no usable PEM private key"),
        "expired": ({"certificate": past.certificate, "key": past.key}, past.certificate,
                    "has expired"),
        "too-early": ({"certificate": future.certificate, "key": future.key}, future.certificate,
                      "not valid yet"),
        "usage": ({"certificate": pki.at_edge.certificate, "key": pki.at_edge.key},
                  pki.at_edge.certificate, "serverAuth"),
        "garbage": ({"certificate": garbage}, garbage, "no usable PEM certificate chain"),
        "empty": ({"certificate": nothing}, nothing, "no usable PEM certificate chain"),
        "garbage-ca": ({"ca": garbage}, garbage, "no usable PEM CA certificate"),
        "garbage-crl": ({"crl": garbage}, garbage, "no usable PEM certificate revocation list"),
    }


def gateway_section(name, port, files):
    lines = "\n\t".join(f'{option} = "{path}"' for option, path in files.items())
    return f'gateway "{name}" {{\n\tlisten = "127.0.0.1:{port}"\n\t{lines}\n}}\n'


def test_every_certificate_fault_at_once(tmp_path, pki):
    """One gateway for each fault, all told in one run, each with its file and its section."""
    good = {"certificate": pki.at_gateway.certificate, "key": pki.at_gateway.key, "ca": pki.ca,
            "crl": pki.crl}
    faults = faulty_certificates(tmp_path, pki)
    path = tmp_path / "certificates.conf"
    path.write_text('mark = 0\nplc "p" { address = "127.0.0.1" port "5007" { } }\n'
                    'identity "a" { match = { "cn:ana" } plcs = { "p" } }\n' +
                    "".join(gateway_section(name, 9000 + number, good | fault[0])
                            for number, (name, fault) in enumerate(faults.items())) +
                    gateway_section("good", 9999, good))
    result = mcseald("--check", path)
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    for name, (_, file, message) in faults.items():
        assert any(line.startswith(f"{file}: error: ") and f'gateway "{name}"' in line and
                   message in line for line in lines), (name, result.stdout)
    assert 'gateway "good"' not in result.stdout
    assert "a123" not in result.stdout
    assert mcseald(path).stdout == result.stdout
    # Faults of the file itself do not hide what is wrong inside the certificates.
    path.write_text(path.read_text() + 'log_level = loud\nedge "x" { listen = "127.0.0.1:9998" }\n')
    both = mcseald("--check", path)
    assert both.returncode == 1 and set(lines) <= set(both.stdout.splitlines())
    assert "log_level: 'loud'" in both.stdout and 'edge "x" has no certificate' in both.stdout


BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def test_files_that_the_configuration_refuses(tmp_path, pki):
    """The system's CA bundle, a key that others may read, files that are not there."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(pki.ca.read_text() * 30)
    open_key = tmp_path / "open.key"
    open_key.write_text(pki.at_gateway.key.read_text())
    open_key.chmod(0o644)
    path = tmp_path / "files.conf"
    good = {"certificate": pki.at_gateway.certificate, "key": pki.at_gateway.key, "ca": pki.ca,
            "crl": pki.crl}
    cases = {"bundle": ({"ca": bundle}, "system's bundle"), "mode": ({"key": open_key}, "0600"),
             "missing": ({"crl": tmp_path / "none.pem"}, "No such file"),
             "folder": ({"certificate": tmp_path}, "not a regular file"),
             "crl-as-ca": ({"ca": pki.crl}, "holds no certificate")}
    if pathlib.Path(BUNDLE).exists():
        cases["system"] = ({"ca": BUNDLE}, BUNDLE)
    path.write_text('mark = 0\nplc "p" { address = "127.0.0.1" port "5007" { } }\n'
                    'identity "a" { match = { "cn:ana" } plcs = { "p" } }\n' +
                    "".join(gateway_section(name, 9000 + number, good | fault[0])
                            for number, (name, fault) in enumerate(cases.items())))
    result = mcseald("--check", path)
    assert result.returncode == 1
    for name, (fault, message) in cases.items():
        (option, file), = fault.items()
        line = path.read_text().split(f'{option} = "{file}"')[0].count("\n") + 1
        assert any(told.startswith(f"{path}:{line}: error: ") and message in told
                   for told in result.stdout.splitlines()), (name, result.stdout)


# --- the system ----------------------------------------------------------------------------------


def test_port_in_use(tmp_path, pki):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = tmp_path / "taken.conf"
        path.write_text(text(pki, port))
        result = mcseald(path)
    assert result.returncode == 1
    assert re.search(rf'listen-failed address=127\.0\.0\.1:{port} error="Address already in use"',
                     result.stdout), result.stdout
    assert "ready workers" not in result.stdout


def test_address_of_another_machine(tmp_path, pki):
    path = tmp_path / "elsewhere.conf"
    path.write_text(text(pki, 8443).replace("127.0.0.1:8443", "192.0.2.77:8443"))
    result = mcseald(path)
    assert result.returncode == 1
    assert re.search(r"listen-failed address=192\.0\.2\.77:8443 error=", result.stdout)


def test_second_daemon_on_the_same_port(tmp_path, pki):
    port = lab.free_port()
    first = lab.Daemon(tmp_path, text(pki, port), name="first")
    with lab.stopping(first):
        result = mcseald(first.config)
        assert result.returncode == 1
        assert f"listen-failed address=127.0.0.1:{port}" in result.stdout


# --- io_uring forbidden --------------------------------------------------------------------------


# struct sock_filter {code, jt, jf, k}: deny io_uring_setup (425 on every architecture) by EPERM.
FORBID = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = b"".join(struct.pack("HBBI", *row) for row in (
    (0x20, 0, 0, 0),               # load seccomp_data.nr
    (0x15, 0, 1, 425),             # io_uring_setup?
    (0x06, 0, 0, 0x00050000 | 1),  # SECCOMP_RET_ERRNO | EPERM
    (0x06, 0, 0, 0x7FFF0000)))     # SECCOMP_RET_ALLOW
rows = ctypes.create_string_buffer(code, len(code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("rows", ctypes.c_void_p)]
program = Program(len(code) // 8, ctypes.addressof(rows))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
    sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
"""


class WithoutUring(lab.Process):
    """mcseald where a seccomp filter forbids io_uring, as many containers do."""

    def __init__(self, folder, config, name="mcseald"):
        path = folder / f"{name}.conf"
        path.write_text(config)
        super().__init__([sys.executable, "-c", FORBID, lab.BUILD / "mcseald", path],
                         folder / f"{name}.log")


@pytest.mark.parametrize("engine", ["auto", "epoll"])
def test_epoll_where_uring_is_forbidden(tmp_path, engine):
    site = lab.Site(tmp_path, plc_options=["--set", "D0=1,2,3", "--split", "100,0"])
    with site:
        lab.assert_clean(site.edge, site.edge.stop())
        lab.assert_clean(site.gateway, site.gateway.stop())
        site.gateway = WithoutUring(tmp_path, site.gateway_config.replace(
            "GATEWAY_PORT", str(site.gateway_port)).replace("engine = auto", f"engine = {engine}"),
            "gateway-epoll")
        site.edge = WithoutUring(tmp_path, site.edge_config.replace(
            "engine = auto", f"engine = {engine}"), "edge-epoll")
        for daemon in (site.gateway, site.edge):
            daemon.wait_text("ready workers=", 10)
            line = daemon.lines(r"\bengine loop=")[0]
            assert "loop=epoll" in line, line
            assert ("Operation not permitted" in line) == (engine == "auto"), line
            assert re.search(r" io_uring=no io_uring-why=.* uring-splice=no ",
                             daemon.lines(r"\binfo capabilities ")[0])
        result = site.mcping("poll", "D0", "960", "--count", "200", "--interval", "0",
                             "--verify", "--one-recv")
        assert "200 answers" in result.stdout and " 0 wrong" in result.stdout, result.stdout


@pytest.mark.parametrize("engine", ["splice", "uring-splice", "copy"])
def test_uring_demanded_where_it_is_forbidden(tmp_path, pki, engine):
    refused = WithoutUring(tmp_path, text(pki, lab.free_port(), head=f"engine = {engine}"))
    assert refused.popen.wait(10 * lab.PATIENCE) == 1
    assert re.search(rf'error engine-refused why="engine = {engine}, but io_uring is not to be had: .*'
                     'Operation not permitted"', refused.text()), refused.text()
    assert "loop=" not in refused.text() and "ready workers" not in refused.text()
