"""``manifest``: what registries have under a name, and lists of several platforms put together there.

A list under way is kept as Docker's command line keeps it, a file a manifest below ``manifests`` beside the
configuration: either goes on where the other stopped.
"""

from __future__ import annotations

import binascii
import json

from corten.errors import CortenError, InvalidInput, NotFound
from corten.spec import digest as digests
from corten.spec import reference as references
from corten.spec.reference import Reference

from . import auth
from .context import Context
from .manifest_store import ManifestStore
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

    Entry = dict[str, Any]

_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_LISTS = (_OCI_INDEX, _DOCKER_LIST)
_SYSTEMS = frozenset("aix android darwin dragonfly freebsd js linux netbsd openbsd plan9 solaris windows zos".split())
_ARCHITECTURES = frozenset(
    "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split()
)


def _store(context: Context) -> ManifestStore:
    return ManifestStore(context.config_path)


def _named(text: str, prefix: str = "") -> Reference:
    """A reference with its tag. Raises InvalidInput, its words after ``prefix``."""
    try:
        return references.parse(text).tagged()
    except InvalidInput as error:
        raise InvalidInput(prefix + error.message) from error


def _ask(context: Context, reference: Reference) -> Entry:
    """What the registry has under a name, in the form of the store. Raises CortenError in Docker's words."""
    headers = auth.header(context, auth.registry_of(str(reference)))
    try:
        with context.client.open("GET", f"/corten/manifests/{reference}", headers=headers) as answer:
            told: Entry = answer.json()
    except NotFound:
        raise NotFound(f"no such manifest: {reference}") from None
    return told


def _content(entry: Entry) -> bytes:
    return binascii.a2b_base64(entry["Raw"])


def _is_list(entry: Entry) -> bool:
    return entry["Descriptor"]["mediaType"] in _LISTS


# --- inspect


def inspect(context: Context, values: Values, arguments: list[str]) -> int:
    """``manifest inspect``."""
    reference = _named(arguments[-1])
    if len(arguments) > 1:
        return _show(context, _store(context).get(_named(arguments[0]), reference), values.verbose)
    local = _store(context).entries(reference)
    if local:
        return _show_list(context, local, values.verbose)
    found = _ask(context, reference)
    if not _is_list(found):
        return _show(context, found, values.verbose)
    manifests = json.loads(_content(found))["manifests"]
    if not values.verbose:
        context.out(_indented(_list_of(manifests), "   "))
        return 0
    return _show_list(context, [_of_list(context, reference, one) for one in manifests], verbose=True)


def _of_list(context: Context, reference: Reference, described: Entry) -> Entry:
    """A manifest that a list names, with the platform that the list gives it."""
    found = _ask(context, reference.with_digest(digests.parse(described["digest"])))
    found["Ref"] = f"{reference}@{described['digest']}"
    found["Descriptor"]["platform"] = described.get("platform") or found["Descriptor"].get("platform")
    return found


def _show(context: Context, entry: Entry, verbose: bool) -> int:
    shown = _verbose(entry) if verbose else json.loads(_content(entry))
    context.out(_indented(shown, "\t"))
    return 0


def _show_list(context: Context, entries: list[Entry], verbose: bool) -> int:
    if verbose:
        context.out(_indented([_verbose(entry) for entry in entries], "\t"))
    else:
        context.out(_indented(_list_of([entry["Descriptor"] for entry in entries]), "   "))
    return 0


def _verbose(entry: Entry) -> Entry:
    is_oci = entry["Descriptor"]["mediaType"] == _OCI_MANIFEST
    member = "OCIManifest" if is_oci else "SchemaV2Manifest"
    return {"Ref": entry["Ref"], "Descriptor": entry["Descriptor"], "Raw": entry["Raw"],
            member: json.loads(_content(entry))}  # fmt: skip


def _list_of(described: list[Entry]) -> Entry:
    """The list of some manifests, its members in the order in which distribution writes them."""
    is_oci = bool(described) and described[0]["mediaType"] == _OCI_MANIFEST
    manifests = [
        {**{name: one[name] for name in ("mediaType", "size", "digest")}, "platform": _platform(one)}
        for one in described
    ]
    return {"schemaVersion": 2, "mediaType": _OCI_INDEX if is_oci else _DOCKER_LIST, "manifests": manifests}


def _platform(described: Entry) -> Entry:
    told = described.get("platform") or {"architecture": "", "os": ""}
    order = ("architecture", "os", "os.version", "os.features", "variant")
    return {name: told[name] for name in order if name in told}


def _indented(value: Any, by: str) -> str:
    return json.dumps(value, indent=by, ensure_ascii=False)


# --- create, annotate, push, rm


def create(context: Context, values: Values, arguments: list[str]) -> int:
    """``manifest create``."""
    target = _named(arguments[0], f"error parsing name for manifest list {arguments[0]}: ")
    store = _store(context)
    if store.entries(target) and not values.amend:
        raise InvalidInput("refusing to amend an existing manifest list with no --amend flag")
    found = []
    for reference in [_named(text) for text in arguments[1:]]:
        entry = store.find(target, reference) or _ask(context, reference)
        if _is_list(entry):
            raise InvalidInput(f"{reference} is a manifest list")
        found.append((reference, entry))
    for reference, entry in found:
        store.save(target, reference, _verbose(entry))
    context.out(f"Created manifest list {target}")
    return 0


def annotate(context: Context, values: Values, arguments: list[str]) -> int:
    """``manifest annotate``."""
    target = _named(arguments[0], f"annotate: error parsing name for manifest list {arguments[0]}: ")
    reference = _named(arguments[1], f"annotate: error parsing name for manifest {arguments[1]}: ")
    store = _store(context)
    entry = store.find(target, reference)
    if entry is None:
        raise NotFound(f"manifest for image {arguments[1]} does not exist in {arguments[0]}")
    platform = entry["Descriptor"].get("platform") or {}
    told = {"os": values.os, "architecture": values.arch, "os.version": values.os_version, "variant": values.variant}
    platform |= {name: value for name, value in told.items() if value}
    if features := [one for text in values.os_features for one in text.split(",")]:
        platform["os.features"] = list(dict.fromkeys([*platform.get("os.features", []), *features]))
    if platform.get("os") not in _SYSTEMS or platform.get("architecture") not in _ARCHITECTURES:
        raise InvalidInput(f"manifest entry for image has unsupported os/arch combination: {values.os}/{values.arch}")
    entry["Descriptor"]["platform"] = platform
    store.save(target, reference, entry)
    return 0


def push(context: Context, values: Values, arguments: list[str]) -> int:
    """``manifest push``."""
    target, store = _named(arguments[0]), _store(context)
    entries = store.entries(target)
    if not entries:
        raise NotFound(f"No such manifest: {target}")
    sources = [references.parse(entry["Ref"]) for entry in entries]
    for source, entry in zip(sources, entries, strict=True):
        _check_part(target, source, entry)
    whole = _list_of([entry["Descriptor"] for entry in entries])
    content = _indented(whole, "   ").encode()
    parts = [
        {"Repository": source.path, "MediaType": entry["Descriptor"]["mediaType"], "Raw": entry["Raw"]}
        for source, entry in zip(sources, entries, strict=True)
    ]
    body = {"MediaType": whole["mediaType"], "Raw": _base64(content), "Parts": parts}
    headers = auth.header(context, auth.registry_of(str(target)))
    with context.client.open("PUT", f"/corten/manifests/{target}", value=body, headers=headers) as answer:
        digest = answer.json()["Digest"]
    for source, entry in zip(sources, entries, strict=True):
        if source.path != target.path:
            own = entry["Descriptor"]["digest"]
            context.out(f"Pushed ref {target.name}@{own} with digest: {own}")
    context.out(digest)
    if values.purge:
        store.remove(target)
    return 0


def _check_part(target: Reference, source: Reference, entry: Entry) -> None:
    platform = entry["Descriptor"].get("platform") or {}
    if not platform.get("architecture") or not platform.get("os"):
        raise InvalidInput(f"manifest {source} must have an OS and Architecture to be pushed to a registry")
    if source.domain != target.domain:
        raise InvalidInput(
            "cannot use source images from a different registry than the target image: "
            f"{source.domain} != {target.domain}"
        )


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode("ascii")


def remove(context: Context, values: Values, arguments: list[str]) -> int:
    """``manifest rm``."""
    code = 0
    for text in arguments:
        try:
            target = _named(text)
            if not _store(context).entries(target):
                raise NotFound(f"No such manifest: {target}")
            _store(context).remove(target)
        except CortenError as error:
            code = context.failure(error)
    return code


_INSECURE = Option("--insecure", FLAG, "Accepted for compatibility: a registry on loopback may be insecure")
INSPECT = Command(
    inspect,
    "Display an image manifest, or manifest list",
    "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    (_INSECURE, Option("-v, --verbose", FLAG, "Output additional info including layers and platform")),
    arguments=(1, 2),
)
CREATE = Command(
    create,
    "Create a local manifest list for annotating and pushing to a registry",
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    (Option("-a, --amend", FLAG, "Amend an existing manifest list"), _INSECURE),
    arguments=(2, None),
)
ANNOTATE = Command(
    annotate,
    "Add additional information to a local image manifest",
    "[OPTIONS] MANIFEST_LIST MANIFEST",
    (
        Option("--arch", STRING, "Set architecture"),
        Option("--os", STRING, "Set operating system"),
        Option("--os-features", "strings", "Set operating system feature"),
        Option("--os-version", STRING, "Set operating system version"),
        Option("--variant", STRING, "Set architecture variant"),
    ),
    arguments=(2, 2),
)
PUSH = Command(
    push,
    "Push a manifest list to a repository",
    "[OPTIONS] MANIFEST_LIST",
    (_INSECURE, Option("-p, --purge", FLAG, "Remove the local manifest list after push")),
    arguments=(1, 1),
)
REMOVE = Command(
    remove, "Delete one or more manifest lists from local storage", "MANIFEST_LIST [MANIFEST_LIST...]",
    arguments=(1, None),
)  # fmt: skip
