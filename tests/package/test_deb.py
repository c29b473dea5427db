# SPDX-License-Identifier: Apache-2.0
"""Debian packages: made alike twice, clean, installed, upgraded, removed and purged in Debian 12 and 13."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from debian_root import Root, lab  # noqa: E402

NAMES = ("mcseal", "mcseal-tools")
SYSTEM = "systemd,iproute2"  # of any machine that it is installed on


def build(folder, **settings):
    lab.run(lab.ROOT / "tools/package", "--into", folder, timeout=600,
            env={**os.environ, "DEB_BUILD_OPTIONS": "nocheck parallel=2", **settings})
    found = {path.name.split("_")[0]: path for path in pathlib.Path(folder).glob("*.deb")}
    assert set(NAMES) < set(found), found
    bills = sorted(pathlib.Path(folder).glob("*.cdx.json"))
    assert len(bills) == 1, bills
    return found


def version():
    return lab.run("dpkg-parsechangelog", "-S", "Version", cwd=lab.ROOT).stdout.strip()


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def newer(packages, tmp_path_factory):
    """The same, as if of another version."""
    folder = tmp_path_factory.mktemp("newer")
    found = {}
    for name in NAMES:
        tree = folder / name
        lab.run("dpkg-deb", "--raw-extract", packages[name], tree)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version()}+newer",
                                  control.read_text()))
        found[name] = folder / f"{name}_newer.deb"
        lab.run("dpkg-deb", "--root-owner-group", "--build", tree, found[name])
    return found


@pytest.fixture(scope="module", params=["12", "13"])
def root(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"debian-{request.param}") / "root"
    yield Root(folder, request.param, SYSTEM.split(","))
    shutil.rmtree(folder)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_files_make_the_same_packages(packages, tmp_path):
    """Elsewhere, at another time, by somebody with other settings."""
    again = build(tmp_path / "a-longer-way-to-it", TZ="Asia/Tokyo", LC_ALL="C", HOME=str(tmp_path),
                  USER="somebody")
    assert {name: digest(path) for name, path in again.items()} == \
        {name: digest(path) for name, path in packages.items()}


def test_lintian_has_nothing_to_say(packages):
    changes = next(packages["mcseal"].parent.glob("*.changes"))
    result = lab.run("lintian", "--allow-root", "--fail-on", "error,warning", changes, check=False)
    assert (result.stdout, result.returncode) == ("", 0)


def test_bill_of_materials(packages):
    """It names what the package depends on, and nothing else."""
    bill = json.loads(next(packages["mcseal"].parent.glob("*.cdx.json")).read_text())
    by_reference = {one["bom-ref"]: one for one in bill["components"]}
    whole, *each = bill["dependencies"]
    assert [by_reference[one]["name"] for one in whole["dependsOn"]] == list(NAMES)
    for entry in each:
        mine = by_reference[entry["ref"]]
        assert mine["version"] == version()
        assert mine["hashes"][0]["content"] == digest(packages[mine["name"]])
        depends = lab.run("dpkg-deb", "--field", packages[mine["name"]], "Depends").stdout
        libraries = {re.match(r"[\w.+-]+", word)[0] for word in depends.split(", ")
                     if word.startswith("lib")}
        assert {by_reference[one]["name"] for one in entry["dependsOn"]} == libraries
        for one in entry["dependsOn"]:
            name = by_reference[one]["name"]
            here = lab.run("dpkg-query", "-Wf", "${Version}", f"{name}:amd64").stdout
            assert by_reference[one]["version"] == here


def install(root, paths):
    for path in paths:
        shutil.copy(path, root.folder / "tmp")
    return root.run("apt-get -qq update && apt-get -qq install --no-install-recommends -y openssl " +
                    " ".join(f"/tmp/{path.name}" for path in paths), network=True)


MAKE_CERTIFICATES = """
mcseal-pki -d /root/pki init
mcseal-pki -d /root/pki gateway gw --ip 127.0.0.1
mcseal-pki -d /root/pki edge office
cd /etc/mcseal
for name in gw office; do
	install -m 0644 /root/pki/issued/$name.pem $name.pem
	install -m 0400 -o mcseal /root/pki/issued/$name.key $name.key
done
install -m 0644 /root/pki/ca.pem /root/pki/crl.pem .
"""
# A gateway and an edge before a simulated PLC, as the manual tells it, by the package's user.
WHOLE_WAY = """
cat > /etc/mcseal/mcseald.conf <<'END'
HEAD
control_socket = "/run/mcseal/control"
mark = 0
policy "everything" { allow = { read, write } }
plc "press-1" { address = "127.0.0.1" port "5007" { } }
identity "office" { match = { "uri:urn:mcseal:edge:office" } role = edge plcs = { "press-1" } }
gateway "plant" {
	listen = { "127.0.0.1:5443" }
	certificate = "/etc/mcseal/gw.pem"  key = "GATEWAY_KEY"
	ca = "/etc/mcseal/ca.pem"  crl = "/etc/mcseal/crl.pem"
}
edge "office" {
	listen = { "127.0.0.1:5008" }
	destination = "127.0.0.1:5007"
	certificate = "/etc/mcseal/office.pem"  key = "/etc/mcseal/office.key"
	ca = "/etc/mcseal/ca.pem"  crl = "/etc/mcseal/crl.pem"
	source "all" { addresses = { "127.0.0.0/8" } }
	route "plant" { destinations = { "127.0.0.1:5007" } gateways = { "127.0.0.1:5443" } }
}
END
chmod 0644 /etc/mcseal/mcseald.conf
install -d -o mcseal -g mcseal /run/mcseal
as_mcseal="setpriv --reuid=mcseal --regid=mcseal --init-groups --inh-caps=-all"
$as_mcseal mcseald --check /etc/mcseal/mcseald.conf
mcplc --listen 127.0.0.1:5007 --set D100=17 >/tmp/mcplc.log 2>&1 &
$as_mcseal mcseald /etc/mcseal/mcseald.conf >/tmp/mcseald.log 2>&1 &
tries=0
until mcping 127.0.0.1:5008 read D100 1; do
	tries=$((tries + 1))
	[ $tries -lt 50 ] || { cat /tmp/mcseald.log; exit 1; }
	sleep 0.1
done
mcseal sessions
mcseal status
"""
# What OpenSSL reads a token with, which is not the same in both.
READS_TOKENS = {"12": "libengine-pkcs11-openssl", "13": "pkcs11-provider"}
PUT_KEY_INTO_TOKEN = """
adduser --quiet mcseal softhsm
as_mcseal="setpriv --reuid=mcseal --regid=mcseal --init-groups"
cd /etc/mcseal
echo 481516 >pin && chown mcseal pin && chmod 0400 pin
openssl pkcs8 -topk8 -nocrypt -in gw.key -out gw.p8 && chown mcseal gw.p8
$as_mcseal softhsm2-util --init-token --free --label plant --so-pin 00000000 --pin 481516
$as_mcseal softhsm2-util --import gw.p8 --token plant --label gw --id 01 --pin 481516
rm gw.p8 && mv gw.key /root/gw.key
"""
TOKEN_KEY = ("pkcs11:token=plant;object=gw;type=private"
             "?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/mcseal/pin")


def carry(root, key="/etc/mcseal/gw.key", head=""):
    said = root.run(WHOLE_WAY.replace("GATEWAY_KEY", key).replace("HEAD", head))
    assert re.search(r"D100\D+17\b", said), said
    return said


def test_life_of_the_packages(root, packages, newer):
    before = root.files()
    install(root, [packages[name] for name in NAMES])

    assert re.search(r"^mcseal:x:\d+:\d+:.*:/usr/sbin/nologin$", root.run("getent passwd mcseal"), re.MULTILINE)
    assert root.run("stat -c '%U:%G %a' /etc/mcseal") == "root:mcseal 750\n"
    for program in ("mcseald", "mcseal", "mcseal-nft", "mcplc", "mcping", "mcload"):
        assert version() in root.run(f"{program} --version"), program
    assert "libssl" not in root.run("ldd /usr/sbin/mcseal-nft")
    verified = root.run("systemd-analyze verify --man=no mcseald.service", check=False)
    assert verified.returncode == 0, verified.stdout
    root.run(MAKE_CERTIFICATES)
    assert version() in carry(root)

    installed = root.run("cat /etc/mcseal/mcseald.conf")
    for path in newer.values():
        shutil.copy(path, root.folder / "tmp")
    root.run("dpkg --install " + " ".join(f"/tmp/{path.name}" for path in newer.values()))
    assert root.run("dpkg-query -Wf '${Version}' mcseal") == f"{version()}+newer"
    assert root.run("cat /etc/mcseal/mcseald.conf") == installed
    carry(root)

    root.run("apt-get -qq install --no-install-recommends -y adduser softhsm2 "
             + READS_TOKENS[root.release], network=True)
    root.run(PUT_KEY_INTO_TOKEN)
    carry(root, TOKEN_KEY, 'confine_folders = { "/etc/softhsm", "/var/lib/softhsm" }')
    root.run("mv /root/gw.key /etc/mcseal/")

    root.run("mkdir -p /var/log/mcseal && echo record >/var/log/mcseal/audit.jsonl")
    root.run("dpkg --remove mcseal mcseal-tools")
    assert root.run("ls /etc/mcseal/mcseald.conf /var/log/mcseal/audit.jsonl")
    assert "mcseald" not in root.run("ls /usr/sbin /usr/bin")

    said = root.run("dpkg --purge mcseal mcseal-tools")
    assert "is kept" in said, said
    assert not (root.folder / "etc/mcseal/mcseald.conf").exists()
    assert (root.folder / "etc/mcseal/gw.key").exists()
    root.run("rm -r /etc/mcseal /root/pki && apt-get -qq purge --auto-remove -y openssl")
    left = {name for name in root.files() - before if "mcseal" in name}
    assert left == set()
