# SPDX-License-Identifier: Apache-2.0
"""A Debian suite read through a private apt: no root, nothing changed on the system.

apt itself does what apt does best: the host's own apt.conf.d (proxies, certificate authorities)
is honoured, and the Release files are checked against debian-archive-keyring. Only the sources,
the package lists, the caches and the (empty) list of installed packages are ours.

Sources: apt.conf(5), apt_preferences(5), sources.list(5).
"""
import pathlib
import re
import subprocess

# Debian 13 knows the first name as a link to the second.
KEYRINGS = [pathlib.Path("/usr/share/keyrings") / f"debian-archive-keyring.{suffix}"
            for suffix in ("gpg", "pgp")]
# A repository counts as Debian's own archive if it serves one of these suites.
DEBIAN_SUITE = re.compile(r"(?:bookworm|trixie|forky|duke|sid|oldstable|stable|testing|unstable)"
                          r"(?:-updates|-security|-backports)?")
UPDATE_SECONDS = 300
DOWNLOAD_SECONDS = 900


class ArchiveError(Exception):
    """The archive could not be reached, or did not hold what was asked for."""


def _call(command, seconds, **options):
    try:
        return subprocess.run(command, check=True, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                              **options).stdout
    except FileNotFoundError as error:
        raise ArchiveError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise ArchiveError(f"{command[0]}: no end after {seconds} s") from error
    except subprocess.CalledProcessError as error:
        raise ArchiveError(f"{command[0]}: {error.stderr.strip()[-800:]}") from error


def mirrors():
    """The main and the security archive this machine uses, from its own apt sources."""
    try:
        listing = _call(["apt-get", "update", "--print-uris"], 60)
    except ArchiveError:
        listing = ""
    found = {}
    for base, suite in re.findall(r"^'(https?://[^' ]+)/dists/([^/' ]+)/\S*Release'", listing,
                                  re.MULTILINE):
        if DEBIAN_SUITE.fullmatch(suite):
            found.setdefault("security" if suite.endswith("-security") else "main", base)
    if "main" not in found:
        raise ArchiveError("apt's sources name no archive of Debian: the kernels come from there")
    main = found["main"]
    return main, found.get("security", re.sub(r"/debian$", "", main) + "/debian-security")


class Archive:
    """One suite of the Debian archive, with its updates and security fixes where they exist."""

    def __init__(self, suite, folder):
        """`folder`: an empty one of the caller's, used until the caller removes it."""
        self._suite = suite
        self._folder = pathlib.Path(folder)
        self._configuration = self._folder / "apt.conf"
        for name in ("lists/partial", "cache/archives/partial", "parts", "preferences"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "status").write_text("")
        self._configuration.write_text("".join(f'{key} "{value}";\n' for key, value in (
            ("Dir::State", self._folder), ("Dir::State::lists", self._folder / "lists"),
            ("Dir::State::status", self._folder / "status"),
            ("Dir::Cache", self._folder / "cache"),
            ("Dir::Etc::sourcelist", self._folder / "sources.list"),
            ("Dir::Etc::sourceparts", self._folder / "parts"),
            ("Dir::Etc::preferences", "/dev/null"),
            ("Dir::Etc::preferencesparts", self._folder / "preferences"),
            # Root would hand the download to the user _apt, who may not enter our folder.
            ("APT::Sandbox::User", ""), ("APT::Architecture", "amd64"),
            ("APT::Architectures", "amd64"), ("Acquire::Languages", "none"),
            ("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled", "false"),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"),
            ("Acquire::Retries", "2"), ("Acquire::http::Timeout", "30"),
            ("Acquire::https::Timeout", "30"))) +
            # Hooks of the host (APT::Update::Post-Invoke...) are none of our business.
            "#clear APT::Update;\n#clear DPkg;\n")

    def _apt(self, *words, seconds=UPDATE_SECONDS, cwd=None):
        return _call([words[0], "-c", str(self._configuration), *words[1:]], seconds, cwd=cwd)

    def update(self):
        """Reads the lists; whether updates and security were to be had where they should be."""
        keyring = next(filter(pathlib.Path.exists, KEYRINGS), None)
        if keyring is None:
            raise ArchiveError(f"{KEYRINGS[0]} is missing (package debian-archive-keyring)")
        main, security = mirrors()
        sources = [f"{main} {self._suite}"]
        extra = [f"{main} {self._suite}-updates", f"{security} {self._suite}-security"]
        wanted = [sources] if self._suite == "sid" else [sources + extra, sources + extra[1:],
                                                        sources]
        for attempt in wanted:
            (self._folder / "sources.list").write_text("".join(
                f"deb [signed-by={keyring}] {source} main\n" for source in attempt))
            try:
                self._apt("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
                return attempt is wanted[0]
            except ArchiveError as error:
                failure = error
        raise failure

    def newest(self, package):
        """(version, {dependency: exact version or None}) of the package's newest version."""
        text = self._apt("apt-cache", "--no-all-versions", "show", package)
        fields = dict(re.findall(r"^([\w-]+): (.*)$", text, re.MULTILINE))
        if "Version" not in fields:
            raise ArchiveError(f"{self._suite} has no package {package}")
        found = re.findall(r"([a-z0-9][a-z0-9.+-]+)(?: \(= ([^)]+)\))?(?=,|\s\||$)",
                           fields.get("Depends", ""))
        return fields["Version"], {name: version or None for name, version in found}

    def download(self, package, version, folder):
        """Fetches that version into the folder; the path of the .deb."""
        self._apt("apt-get", "-q", "download", f"{package}={version}", cwd=folder,
                  seconds=DOWNLOAD_SECONDS)
        return next(pathlib.Path(folder).glob(f"{package}_*.deb"))
