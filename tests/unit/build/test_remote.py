"""Sources that are elsewhere: what is a repository, what a file, what neither; and what COPY and ADD refuse."""

from __future__ import annotations

import pytest

from corten.build.instructions import Add, Copy
from corten.build.parser import parse
from corten.build.remote import GitSource, UrlSource, check, merged, of, of_context
from corten.errors import InvalidInput

GIT = "https://example.com/foo.git"

REPOSITORIES = [
    (GIT, GitSource(GIT, "foo")),
    ("HTTPS://example.com/foo.git", GitSource(GIT, "foo")),
    (f"{GIT}#deadbeef", GitSource(GIT, "foo", "deadbeef")),
    (f"{GIT}#release/1.2:a/../b/", GitSource(GIT, "foo", "release/1.2", "b")),
    (f"{GIT}#:dir", GitSource(GIT, "foo", "", "dir")),
    (f"{GIT}#v1:../../etc", GitSource(GIT, "foo", "v1", "etc")),
    (f"{GIT}?ref=v1&subdir=/a", GitSource(GIT, "foo", "v1", "a")),
    (f"{GIT}?ref=v1#v1", GitSource(GIT, "foo", "v1")),
    (f"{GIT}?tag=v1", GitSource(GIT, "foo", "refs/tags/v1")),
    (f"{GIT}?tag=refs/tags/v1", GitSource(GIT, "foo", "refs/tags/v1")),
    (f"{GIT}?branch=b", GitSource(GIT, "foo", "refs/heads/b")),
    (f"{GIT}?checksum=abc123", GitSource(GIT, "foo", checksum="abc123")),
    (f"{GIT}?commit=abc123&fetch-by-commit", GitSource(GIT, "foo", checksum="abc123", by_commit=True)),
    (f"{GIT}?keep-git-dir&submodules=false", GitSource(GIT, "foo", keep_git_dir=True, submodules=False)),
    (f"{GIT}?mtime=commit", GitSource(GIT, "foo", commit_times=True)),
    ("http://u:p@h:80/a%2Egit", GitSource("http://u:p@h:80/a%2Egit", "a%2Egit")),
    ("git://h/x", GitSource("git://h/x", "x")),
    ("ssh://git@h:22/x.git", GitSource("ssh://git@h:22/x.git", "x")),
    ("git@github.com:moby/buildkit.git#m:d", GitSource("git@github.com:moby/buildkit.git", "buildkit", "m", "d")),
    ("u@h:~/x?tag=t", GitSource("u@h:~/x", "x", "refs/tags/t")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), REPOSITORIES)
def test_a_repository(source: str, expected: GitSource) -> None:
    assert of(source) == expected


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://example.com/a/b.tar.gz?x=.git", "b.tar.gz"),
        ("https://example.com/foo.git/", "foo.git"),
        ("http://example.com/foo.git.bar", "foo.git.bar"),
        ("https://example.com/a%20b", "a b"),
        ("https://example.com/a%2Fb", "b"),
        ("https://example.com/", "__unnamed__"),
        ("https://example.com", "__unnamed__"),
        ("https://example.com/a/..", "__unnamed__"),
        ("https://[bad/x", "__unnamed__"),
    ],
)
def test_a_file_and_its_name(source: str, name: str) -> None:
    assert of(source) == UrlSource(source, name)


@pytest.mark.parametrize(
    "source", ["a", "./a.git", ".git", "/a/b", "example.com/a.git", "github.com/a/b", "ftp://h/a", "a b@c:d", "git:x"]
)
def test_a_path_of_the_context(source: str) -> None:
    assert of(source) is None


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("github.com/a/b", GitSource("https://github.com/a/b.git", "b")),
        ("github.com/a/b.git#x:y", GitSource("https://github.com/a/b.git", "b", "x", "y")),
        ("github.com/a/b?tag=1", GitSource("https://github.com/a/b.git", "b", "refs/tags/1")),
        ("https://example.com/a.tar", UrlSource("https://example.com/a.tar", "a.tar")),
    ],
)
def test_a_context(remote: str, expected: GitSource | UrlSource) -> None:
    assert of_context(remote) == expected


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (f"{GIT}?x=1", 'unexpected query "x"'),
        (f"{GIT}?ref=", 'query "ref" has no value'),
        (f"{GIT}?ref=a&ref=b", 'query "ref" has multiple values'),
        (f"{GIT}?ref=a#b", 'ref conflicts: "b" vs "a"'),
        (f"{GIT}?ref=a&tag=a", 'ref conflicts: "a" vs "refs/tags/a"'),
        (f"{GIT}?tag=a&branch=a", "branch conflicts with tag"),
        (f"{GIT}?subdir=a#:b", 'subdir conflicts: "b" vs "a"'),
        (f"{GIT}?keep-git-dir=x", 'invalid keep-git-dir value: "x"'),
        (f"{GIT}?submodules=x", 'invalid submodules value: "x"'),
        (f"{GIT}?mtime=x", 'invalid mtime value: "x" (must be "checkout" or "commit")'),
        (f"{GIT}#--upload-pack=x", 'git ref "--upload-pack=x" begins with a dash'),
        ("ssh://-oProxyCommand=x/y", 'git remote "ssh://-oProxyCommand=x/y" begins with a dash'),
        ("-x@h:y", 'git remote "-x@h:y" begins with a dash'),
        ("x@-h:y", 'git remote "x@-h:y" begins with a dash'),
    ],
)
def test_a_repository_that_is_refused(source: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        of(source)
    assert caught.value.message == cause


def one(text: str) -> Copy | Add:
    (found,) = parse(f"FROM a\n{text}").stages[0].instructions
    assert isinstance(found, Copy | Add)
    return found


SHA = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "COPY a b /", "ADD a https://b/c /", f"ADD --checksum={SHA} https://b/c /", f"ADD --checksum=abc {GIT} /",
        f"ADD --keep-git-dir=true {GIT}?keep-git-dir /", f"ADD --checksum=abc {GIT}?checksum=abc /",
    ],
)  # fmt: skip
def test_sources_that_are_taken(text: str) -> None:
    check(one(text))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("COPY https://a/b /", "source can't be a URL for COPY"),
        (f"COPY a {GIT} /", "source can't be a git ref for COPY"),
        (f"ADD --checksum={SHA} a /", "checksum requires HTTP(S) or Git sources"),
        (f"ADD --checksum={SHA} https://a/b https://a/c /", "checksum can't be specified for multiple sources"),
        (f"ADD --checksum=abc {GIT}?checksum=abd /", 'checksum mismatch "abc" != "abd"'),
        (f"ADD --keep-git-dir=false {GIT}?keep-git-dir /", "inconsistent keep-git-dir configuration"),
        (
            f"ADD --checksum={SHA} {GIT} /",
            f'invalid checksum "{SHA}" for a git source, expected the hash of a commit',
        ),
    ],
)
def test_sources_that_are_refused(text: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(one(text))
    assert caught.value.message == cause


def test_a_checksum_that_is_no_digest() -> None:
    with pytest.raises(InvalidInput, match="digest"):
        check(one("ADD --checksum=abc https://a/b /"))


def test_flags_and_query_of_a_repository_are_one() -> None:
    add = one(f"ADD --keep-git-dir --checksum=abc {GIT} /")
    source = of(GIT)
    assert isinstance(add, Add)
    assert isinstance(source, GitSource)
    assert merged(add, source) == GitSource(GIT, "foo", checksum="abc", keep_git_dir=True)
