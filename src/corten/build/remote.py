"""Sources of ADD, and contexts, that are elsewhere: a URL's file or a git repository, as BuildKit's ``dfgitutil`` tells
them apart.

A repository is ``git://…``, ``ssh://…``, ``user@host:path``, or ``http(s)://….git``; behind it stand ``#ref:directory``
and ``?tag=…&branch=…&ref=…&subdir=…&checksum=…&keep-git-dir&submodules=…&mtime=…&fetch-by-commit``.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from corten.build import numbers
from corten.build.expansion import quoted
from corten.build.instructions import Add, Copy
from corten.errors import InvalidInput
from corten.spec import digest as digests

_SCHEMES = ("http", "https", "ssh", "git")
_SCHEME = re.compile(r"([a-zA-Z0-9]+)://")
_SHORT = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_COMMIT = re.compile(r"[0-9a-f]{1,64}", re.ASCII)
UNNAMED = "__unnamed__"
"""The name of a file whose URL has none."""
_MAY_BE_BARE = ("submodules", "keep-git-dir", "fetch-by-commit")
_KNOWN = (
    "ref", "tag", "branch", "subdir", "checksum", "commit", "mtime", *_MAY_BE_BARE,
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class UrlSource:
    """A file behind http(s), and the name that it gets in a directory."""

    url: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class GitSource:
    """A repository. ``ref`` is a commit, tag or branch, '' for the default one; ``directory`` is inside it;
    ``checksum`` the beginning of a commit's hash. ``commit_times`` are files' times as of the commit;
    ``by_commit`` fetches the checksum whatever the ref is now. None is not asked for."""

    remote: str
    name: str
    ref: str = ""
    directory: str = ""
    checksum: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    commit_times: bool = False
    by_commit: bool = False


def of(source: str) -> GitSource | UrlSource | None:
    """What a source of ADD is, None for a path of the context. Raises InvalidInput for a repository that is asked for
    in a wrong way."""
    return _repository(source) or _file(source)


def of_context(remote: str) -> GitSource | UrlSource | None:
    """The same for a build's context, where ``github.com/…`` is a repository, too. Raises InvalidInput."""
    if not remote.startswith("github.com/"):
        return of(remote)
    where = re.match("[^?#]*", remote)
    path = where[0] if where else remote
    return of(f"https://{path.removesuffix('.git')}.git{remote[len(path) :]}")


def check(one: Copy | Add) -> None:
    """Refuse sources that the instruction cannot take, and a checksum that fits none. Raises InvalidInput."""
    found = [of(source) for source in one.sources]
    if isinstance(one, Copy):
        if any(isinstance(source, GitSource) for source in found):
            raise InvalidInput("source can't be a git ref for COPY")
        if any(isinstance(source, UrlSource) for source in found):
            raise InvalidInput("source can't be a URL for COPY")
        return
    if one.checksum:
        if len(found) != 1:
            raise InvalidInput("checksum can't be specified for multiple sources")
        if not found[0]:
            raise InvalidInput("checksum requires HTTP(S) or Git sources")
        if isinstance(found[0], UrlSource):
            digests.parse(one.checksum)
    for source in found:
        if isinstance(source, GitSource):
            merged(one, source)


def merged(one: Add, source: GitSource) -> GitSource:
    """A repository with the flags of its ADD. Raises InvalidInput where the two contradict each other."""
    return with_flags(source, one.checksum, one.keep_git_dir)


def with_flags(source: GitSource, checksum: str, kept: bool | None) -> GitSource:
    """As :func:`merged`, by the flags themselves."""
    if kept is not None and source.keep_git_dir not in (None, kept):
        raise InvalidInput("inconsistent keep-git-dir configuration")
    if checksum and source.checksum not in ("", checksum):
        raise InvalidInput(f"checksum mismatch {quoted(checksum)} != {quoted(source.checksum)}")
    wanted = source.checksum or checksum
    if wanted and not _COMMIT.fullmatch(wanted):
        raise InvalidInput(f"invalid checksum {quoted(wanted)} for a git source, expected the hash of a commit")
    keep = source.keep_git_dir if source.keep_git_dir is not None else kept
    return dataclasses.replace(source, checksum=wanted, keep_git_dir=keep)


def _file(source: str) -> UrlSource | None:
    if not source.startswith(("http://", "https://")):
        return None
    try:
        base = posixpath.basename(unquote(urlsplit(source).path).rstrip("/"))
    except ValueError:
        base = ""
    return UrlSource(source, base if base not in ("", ".", "..") else UNNAMED)


def _repository(source: str) -> GitSource | None:
    scheme = _SCHEME.match(source)
    if scheme:
        if scheme[1].lower() not in _SCHEMES or not source.isprintable():
            return None
        try:
            parts = urlsplit(source)
        except ValueError:
            return None
        if parts.scheme in ("http", "https") and not unquote(parts.path).endswith(".git"):
            return None
        remote = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        return _with_query(_safe(remote, parts.hostname or ""), unquote(parts.fragment), parts.query)
    short = _SHORT.fullmatch(source)
    if not short:
        return None
    return _with_query(_safe(f"{short[1]}@{short[2]}:{short[3]}", short[2]), short[5] or "", short[4] or "")


def _safe(remote: str, host: str) -> str:
    """Git and ssh would take what begins with a dash for an option (CVE-2017-1000117)."""
    if remote.startswith("-") or host.startswith("-"):
        raise InvalidInput(f"git remote {quoted(remote)} begins with a dash")
    return remote


def _with_query(remote: str, fragment: str, query: str) -> GitSource:
    ref, _, directory = fragment.partition(":")
    name = remote.rsplit("/", 1)[-1].removesuffix(".git")
    values = _single(query)
    truths = {key: _truth(key, values) for key in _MAY_BE_BARE}
    mtime = values.get("mtime", "checkout")
    if mtime not in ("checkout", "commit"):
        raise InvalidInput(f'invalid mtime value: {quoted(mtime)} (must be "checkout" or "commit")')
    found = GitSource(
        remote,
        name,
        _ref(ref, values),
        _inside(_agreed("subdir", _inside(directory), values.get("subdir", ""))),
        values.get("checksum") or values.get("commit") or "",
        truths["keep-git-dir"],
        truths["submodules"],
        mtime == "commit",
        truths["fetch-by-commit"] is True,
    )
    if found.ref.startswith("-"):
        raise InvalidInput(f"git ref {quoted(found.ref)} begins with a dash")
    return found


def _single(query: str) -> dict[str, str]:
    """The values of a query, each of which may stand there once. Raises InvalidInput."""
    values: dict[str, str] = {}
    for key, several in parse_qs(query, keep_blank_values=True).items():
        if len(several) > 1:
            raise InvalidInput(f"query {quoted(key)} has multiple values")
        if not several[0] and key not in _MAY_BE_BARE:
            raise InvalidInput(f"query {quoted(key)} has no value")
        if key not in _KNOWN:
            raise InvalidInput(f"unexpected query {quoted(key)}")
        values[key] = several[0]
    return values


def _truth(key: str, values: dict[str, str]) -> bool | None:
    if key not in values:
        return None
    try:
        return numbers.boolean(values[key]) if values[key] else True
    except ValueError:
        raise InvalidInput(f"invalid {key} value: {quoted(values[key])}") from None


def _agreed(what: str, one: str, other: str) -> str:
    if one and other and one != other:
        raise InvalidInput(f"{what} conflicts: {quoted(one)} vs {quoted(other)}")
    return one or other


def _ref(written: str, values: dict[str, str]) -> str:
    ref = _agreed("ref", written, values.get("ref", ""))
    tag, branch = values.get("tag", ""), values.get("branch", "")
    if tag:
        ref = _agreed("ref", ref, f"refs/tags/{tag.removeprefix('refs/tags/')}")
    if branch and tag:
        raise InvalidInput("branch conflicts with tag")
    if branch:
        ref = _agreed("ref", ref, f"refs/heads/{branch.removeprefix('refs/heads/')}")
    return ref


def _inside(directory: str) -> str:
    """A directory that does not lead out of the repository."""
    return posixpath.normpath(f"/{directory}").lstrip("/")
