"""``--build-context``: directories, images, layouts and archives beside a build's own context."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import contexts, images
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


def build(
    engine: Engine, where: Path, dockerfile: str, *named: str, files: Mapping[str, str | bytes] | None = None
) -> Result:
    options = [word for one in named for word in ("--build-context", one)]
    where = contexts.directory(where, dockerfile, files)
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def test_a_directory(shared_engine: Engine, tmp_path: Path) -> None:
    other = contexts.directory(tmp_path / "other", "", {
        "d/f": "other f", "d/l": "-> f", "ignored": "x", "out": "-> /etc/passwd",
        ".dockerignore": "ignored\nDockerfile\n",
    })  # fmt: skip
    dockerfile = (
        "FROM busybox\nCOPY f /own\nCOPY --from=more d /d\nRUN --mount=from=more,source=d,target=/m cat /m/l > /seen\n"
        "COPY --from=more . /all\n"
    )
    build(shared_engine, tmp_path / "c", dockerfile, f"more={other}", files={"f": "own f"}).check()
    look = "cat /own /d/f /seen; ls -A /all; readlink /all/out"
    assert shown(shared_engine, look) == "own fother fother f.dockerignore\nd\nout\n/etc/passwd\n"
    again = build(shared_engine, tmp_path / "c", dockerfile, f"more={other}", files={"f": "own f"}).check()
    assert again.err.count("Using cache") == 4
    (other / "d/f").write_text("changed")
    changed = build(shared_engine, tmp_path / "c", dockerfile, f"more={other}").check()
    assert changed.err.count("Using cache") == 1
    assert shown(shared_engine, "cat /d/f") == "changed"


def test_a_directory_as_a_base_and_instead_of_a_stage(shared_engine: Engine, tmp_path: Path) -> None:
    root = contexts.directory(tmp_path / "root", "unused", {"bin/f": "based"})
    build(shared_engine, tmp_path / "c", "FROM base\nENV A=b\n", f"base={root}").check()
    shared_engine.docker("cp", f"{shared_engine.docker('create', 'made', 'x').check().out.strip()}:/bin/f", "-").check()
    shared_engine.docker("container", "prune", "-f").check()
    stages = "FROM nobody.invalid/none AS stage\nRUN false\nFROM busybox\nCOPY --from=stage bin/f /f\n"
    said = build(shared_engine, tmp_path / "c", stages, f"stage={root}").check()
    assert "RUN false" not in said.err
    assert shown(shared_engine, "cat /f") == "based"


def test_what_leads_out_of_a_directory_is_refused(shared_engine: Engine, tmp_path: Path) -> None:
    other = contexts.directory(tmp_path / "other", "", {"out": "-> /etc"})
    (tmp_path / "secret").write_text("outside")
    for source in ("out/passwd", "../secret"):
        refused = build(shared_engine, tmp_path / "c", f"FROM busybox\nCOPY --from=more {source} /x\n", f"more={other}")
        assert (refused.code, "not found" in refused.err or "forbidden path" in refused.err) == (1, True)


def test_an_image_stands_for_another(shared_engine: Engine, tmp_path: Path) -> None:
    build(shared_engine, tmp_path / "a", "FROM busybox\nRUN echo stand-in > /who\nENV A=b\n").check()
    shared_engine.docker("tag", "made", "stand-in:1").check()
    dockerfile = "FROM nobody.invalid/base:2\nRUN echo $A >> /who\nCOPY --from=tool /who /tool\n"
    named = ("nobody.invalid/base:2=docker-image://stand-in:1", "tool=docker-image://stand-in:1")
    build(shared_engine, tmp_path / "b", dockerfile, *named).check()
    assert shown(shared_engine, "cat /who /tool") == "stand-in\nb\nstand-in\n"


@pytest.fixture(scope="module")
def layout(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with an image that the engine does not have, as skopeo writes it, with compressed layers."""
    where = tmp_path_factory.mktemp("layout")
    build(shared_engine, where / "c", "FROM busybox\nRUN echo from a layout > /who\nENV A=layout\n").check()
    shared_engine.docker("save", "-o", str(where / "saved.tar"), "made").check()
    source = f"docker-archive:{where / 'saved.tar'}"
    copied = ("skopeo", "copy", "--insecure-policy", "--dest-compress", source, f"oci:{where / 'oci'}:tagged")
    subprocess.run(copied, check=True, capture_output=True)
    shared_engine.docker("rmi", "made").check()
    shared_engine.docker("builder", "prune", "-f").check()
    return where / "oci"


def test_a_layout(shared_engine: Engine, layout: Path, tmp_path: Path) -> None:
    dockerfile = "FROM base\nRUN cat /who > /mine; echo $A >> /mine\nCOPY --from=base /who /copied\n"
    build(shared_engine, tmp_path, dockerfile, f"base=oci-layout://{layout}:tagged").check()
    assert shown(shared_engine, "cat /mine /copied") == "from a layout\nlayout\nfrom a layout\n"
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    again = build(shared_engine, tmp_path, dockerfile, f"base=oci-layout://{layout}@{digest}").check()
    assert again.err.count("Using cache") == 2
    shared_engine.docker("save", "-o", str(tmp_path / "all.tar"), "made").check()
    with tarfile.open(tmp_path / "all.tar") as archive:
        assert "manifest.json" in archive.getnames()


def test_a_layout_that_lies(shared_engine: Engine, layout: Path, tmp_path: Path) -> None:
    missing = build(shared_engine, tmp_path / "c", "FROM base\n", f"base=oci-layout://{layout}:other")
    assert (missing.code, "no image of that name is in it" in missing.err) == (1, True)
    changed = tmp_path / "changed"
    subprocess.run(["cp", "-r", str(layout), str(changed)], check=True)
    shared_engine.docker("rmi", "-f", "made")
    manifest = json.loads((changed / "index.json").read_text())["manifests"][0]["digest"]
    path = changed / "blobs/sha256" / manifest.removeprefix("sha256:")
    path.write_bytes(path.read_bytes().replace(b"layers", b"Layers"))
    lies = build(shared_engine, tmp_path / "c", "FROM base\n", f"base=oci-layout://{changed}:tagged")
    assert (lies.code, "digest mismatch" in lies.err) == (1, True)
    path.write_bytes((layout / "blobs/sha256" / path.name).read_bytes())
    layers = json.loads(path.read_bytes())["layers"]
    blob = changed / "blobs/sha256" / layers[-1]["digest"].removeprefix("sha256:")
    blob.write_bytes(bytes(len(blob.read_bytes())))
    shared_engine.docker("builder", "prune", "-f").check()
    lies = build(shared_engine, tmp_path / "c", "FROM base\nRUN true\n", f"base=oci-layout://{changed}:tagged")
    assert (lies.code, "digest mismatch" in lies.err) == (1, True)


def test_a_layout_whose_index_names_indexes(shared_engine: Engine, tmp_path: Path) -> None:
    layers = [images.busybox_layer(tmp_path), images.layer({"who": b"nested\n"})]
    nested = images.index_layout(tmp_path / "nested", "tagged", layers, nested=True)
    build(shared_engine, tmp_path / "c", "FROM base\nRUN cat /who > /mine\n", f"base=oci-layout://{nested}:tagged").check()
    assert shown(shared_engine, "cat /mine") == "nested\n"


@pytest.mark.parametrize(
    ("named", "cause"),
    [
        ("more", "it needs NAME=VALUE"),
        ("=x", "it needs NAME=VALUE"),
        ("more=/no/such/place", "path '/no/such/place' not found"),
        ("more=oci-layout:///etc", "is not an OCI layout"),
        ("more=docker-image://UPPER case", "invalid reference format"),
        ("more=http://127.0.0.1:1/x.tar", "fetch http://127.0.0.1:1/x.tar"),
    ],
)
def test_what_is_no_context(shared_engine: Engine, tmp_path: Path, named: str, cause: str) -> None:
    refused = build(shared_engine, tmp_path, "FROM busybox\nCOPY --from=more x /x\n", named)
    assert refused.code != 0
    assert cause in refused.err


def test_an_archive_on_standard_input_has_secrets_and_contexts(shared_engine: Engine, tmp_path: Path) -> None:
    other = contexts.directory(tmp_path / "other", "", {"f": "named"})
    (tmp_path / "token").write_text("12345")
    dockerfile = (
        "FROM busybox\nCOPY big /big\nCOPY --from=more f /f\n"
        "RUN --mount=type=secret,id=t wc -c < /run/secrets/t > /size\n"
    )
    packed = contexts.archive({"Dockerfile": dockerfile, "big": b"b" * 3_000_000}, mode="w:gz")
    options = ("--build-context", f"more={other}", "--secret", f"id=t,src={tmp_path / 'token'}")
    shared_engine.cli("build", "-t", "made", *options, "-", stdin=packed).check()
    assert shown(shared_engine, "wc -c < /big; cat /f /size").split() == ["3000000", "named5"]
