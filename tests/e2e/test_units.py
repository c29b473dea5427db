#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `make install` gives to systemd: units that systemd takes, user and folders that it makes."""
import os
import re
import subprocess

import pytest

import lab

# Ten times what `systemd-analyze security` says: 0 is everything off, 100 everything on. What is
# left to mcseald: sockets, one capability, the files of its configuration.
EXPOSURE = {"mcseald.service": 20, "mcseal-nft.service": 27}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    lab.run("make", "install", f"DESTDIR={root}", "PREFIX=/usr", f"FLAVOUR={lab.BUILD.name}",
            cwd=lab.ROOT, timeout=300)
    return root


@pytest.mark.parametrize("unit", EXPOSURE)
def test_exposure(installed, unit):
    path = installed / "usr/lib/systemd/system" / unit
    result = lab.run("systemd-analyze", "security", "--offline=yes",
                     f"--threshold={EXPOSURE[unit]}", path, check=False)
    assert result.returncode == 0, result.stdout
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", result.stdout)
    assert found and float(found.group(1)) * 10 <= EXPOSURE[unit]
    # The same gate notices a unit that was opened.
    opened = installed / unit
    opened.write_text(re.sub(r"(?m)^(NoNewPrivileges|SystemCallFilter|Restrict\w+|Protect\w+)=.*\n", "",
                             path.read_text()))
    result = lab.run("systemd-analyze", "security", "--offline=yes",
                     f"--threshold={EXPOSURE[unit]}", opened, check=False)
    assert result.returncode != 0


def test_systemd_understands_every_line(installed):
    """No option that it would ignore, on the oldest systemd that is supported, too."""
    for path in sorted((installed / "usr/lib/systemd/system").iterdir()):
        text = re.sub(r"(?m)^(Exec\w+=)\S+", r"\1/bin/true", path.read_text())
        copy = installed / path.name
        copy.write_text(text)
        result = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], text=True,
                                capture_output=True, check=False, timeout=60,
                                env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"})
        about = [line for line in result.stderr.splitlines() if path.name in line
                 and "is not executable" not in line]
        assert not about, "\n".join(about)


def test_user_and_folder_are_made(installed):
    (installed / "etc").mkdir()
    for _ in range(2):  # the second time there is nothing to do
        lab.run("systemd-sysusers", f"--root={installed}", "mcseal.conf")
        lab.run("systemd-tmpfiles", f"--root={installed}", "--create", "mcseal.conf")
    (line,) = [line for line in (installed / "etc/passwd").read_text().splitlines()
               if line.startswith("mcseal:")]
    _, _, uid, gid, _, _, shell = line.split(":")
    assert shell == "/usr/sbin/nologin" and int(uid) < 1000
    status = (installed / "etc/mcseal").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o750, 0, int(gid))


def test_commands_of_the_units_are_what_the_programs_take(installed):
    unit = (installed / "usr/lib/systemd/system/mcseald.service").read_text()
    for program in re.findall(r"(?m)^Exec\w+=(/usr/sbin/\S+)", unit):
        assert (installed / program[1:]).exists(), program
    assert (installed / "usr/lib/modules-load.d/mcseal.conf").read_text().splitlines()[-1] == "tls"
