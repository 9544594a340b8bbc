"""What COPY takes from a tree that is known by its index, and where it goes."""

from __future__ import annotations

import pytest

from corten.build.copying import Chosen, Found, Marks, absolute, choose, fingerprint, place, refuse_climbing
from corten.build.files import Entry, Tree
from corten.errors import InvalidInput, NotFound

NOTHING = Found("/dest", "")


def file(digest: str = "", **members: int) -> Entry:
    return Entry("file", 0o644, digest=digest, **members)


def link(target: str) -> Entry:
    return Entry("symlink", 0o777, link=target)


TREE = Tree({
    "a": file("1"), "d/b": file("2"), "d/e/c": file("3"), "x.py": file("4"), "d/y.py": file("5"), "to-a": link("a"),
    "to-d": link("/d"), "out": link("../../etc/passwd"), "round": link("round"), "empty": Entry("directory", 0o700),
})  # fmt: skip


def paths(chosen: Chosen) -> list[str]:
    return [path for path, _ in chosen.rows]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["a"], ["a"]),
        (["d"], ["b", "e", "e/c", "y.py"]),
        (["d/e", "a"], ["a", "c"]),
        (["to-d"], ["b", "e", "e/c", "y.py"]),
        (["to-d/e/c"], ["c"]),
        (["*.py"], ["x.py"]),
        (["**/*.py"], ["x.py", "y.py"]),
        (["d/*"], ["b", "c", "y.py"]),
        (["/a"], ["a"]),
        (["./a"], ["a"]),
        (["empty"], []),
    ],
)
def test_sources(sources: list[str], expected: list[str]) -> None:
    assert paths(choose(TREE, sources)) == expected


def test_all_of_it() -> None:
    chosen = choose(TREE, ["."])
    assert paths(chosen) == ["a", "d", "d/b", "d/e", "d/e/c", "d/y.py", "empty", "out", "round", "to-a", "to-d", "x.py"]


def test_a_link_is_followed_when_it_is_named_and_kept_in_a_directory() -> None:
    assert choose(TREE, ["to-a"]).rows == (("to-a", file("1")),)
    assert dict(choose(TREE, ["."]).rows)["to-a"].kind == "symlink"


@pytest.mark.parametrize("source", ["missing", "d/missing", "*.c", "out", "a/b"])
def test_nothing_there(source: str) -> None:
    with pytest.raises(NotFound, match="not found"):
        choose(TREE, [source])


def test_links_in_a_circle_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too many links"):
        choose(TREE, ["round"])


def test_a_link_never_leaves_the_tree() -> None:
    tree = Tree({"etc/passwd": file("inner"), "up/out": link("../../../../etc/passwd")})
    assert choose(tree, ["up/out"]).rows == (("out", file("inner")),)


@pytest.mark.parametrize("source", ["../a", "d/../../a", "/../a", ".."])
def test_a_source_above_the_context_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput, match="forbidden path outside the build context"):
        refuse_climbing([source])


def test_excluded_and_with_parents() -> None:
    assert paths(choose(TREE, ["d"], exclude=["e"])) == ["b", "y.py"]
    assert paths(choose(TREE, ["d"], exclude=["*", "!b"])) == ["b"]
    assert paths(choose(TREE, ["d/e/c"], parents=True)) == ["d", "d/e", "d/e/c"]
    assert paths(choose(TREE, ["d/./e/c"], parents=True)) == ["e", "e/c"]


@pytest.mark.parametrize(
    ("destination", "found", "expected"),
    [
        ("/dest", NOTHING, ["dest"]),
        ("/dest/", NOTHING, ["dest", "dest/a"]),
        ("/dest", Found("/dest", "directory"), ["dest", "dest/a"]),
        ("/dest", Found("/dest", "file"), ["dest"]),
        ("/l/dest", Found("/real/dest", ""), ["real", "real/dest"]),
    ],
)
def test_where_a_file_goes(destination: str, found: Found, expected: list[str]) -> None:
    assert [path for path, _ in place(choose(TREE, ["a"]), destination, found, Marks())] == expected


def test_a_directory_that_is_there_stays_as_it_is() -> None:
    there = Entry("directory", 0o1777, 5, 6)
    found = Found("/dest", "directory", (("dest", there),), {"e": there})
    rows = dict(place(choose(TREE, ["d"]), "/dest", found, Marks((7, 8))))
    assert rows["dest"] is there
    assert rows["dest/e"] is there
    assert (rows["dest/b"].uid, rows["dest/b"].gid) == (7, 8)


@pytest.mark.parametrize(("mode", "made"), [("", 0o755), ("4640", 0o640), ("u=rwx,go=", 0o755)])
def test_a_number_is_the_mode_of_directories_that_are_made_too(mode: str, made: int) -> None:
    rows = dict(place(choose(TREE, ["a"]), "/x/y/", Found("/x/y", ""), Marks(mode=mode)))
    assert (rows["x"].mode, rows["x/y"].mode) == (made, made)


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_a_directory_takes_no_files_place(kind: str) -> None:
    found = Found("/dest", "directory", (), {"e": Entry(kind)})
    with pytest.raises(InvalidInput, match="cannot copy to non-directory: /dest/e"):
        place(choose(TREE, ["d"]), "/dest", found, Marks())
    with pytest.raises(InvalidInput, match="cannot copy to non-directory: /dest"):
        place(choose(TREE, ["d"]), "/dest", Found("/dest", kind), Marks())


def test_a_file_takes_no_directorys_place() -> None:
    found = Found("/dest", "directory", (), {"a": Entry("directory")})
    with pytest.raises(InvalidInput, match="cannot replace to directory /dest/a with file"):
        place(choose(TREE, ["a"]), "/dest", found, Marks())


def test_nothing_is_newer_than_the_epoch() -> None:
    tree = Tree({"new": file(mtime=50), "old": file(mtime=5)})
    rows = dict(place(choose(tree, ["."]), "/dest/", NOTHING, Marks(epoch=10)))
    assert {path: entry.mtime for path, entry in rows.items()} == {"dest": 10, "dest/new": 10, "dest/old": 5}


def test_a_fingerprint_is_of_content_and_metadata_and_no_time() -> None:
    def of(entry: Entry, name: str = "a") -> str:
        return fingerprint(choose(Tree({name: entry}), ["."]))

    first = of(file("1"))
    assert of(file("1", mtime=9, offset=7)) == first
    others = [of(file("2")), of(Entry("file", 0o755, digest="1")), of(file("1", uid=1)), of(file("1"), "b")]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("destination", "working_directory", "expected"),
    [("x", "/w", "/w/x"), ("x/", "/w", "/w/x/"), (".", "/w", "/w/"), ("./", "/w", "/w/"), ("/", "/w", "/"),
     ("/a/../b", "/w", "/b"), ("../b", "/w/v", "/w/b"), ("//a", "/w", "/a"), ("x", "", "/x")],
)  # fmt: skip
def test_destinations(destination: str, working_directory: str, expected: str) -> None:
    assert absolute(destination, working_directory) == expected
