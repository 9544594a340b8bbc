"""Log drivers: what each keeps or sends, what ``logs`` reads, and what is refused."""

from __future__ import annotations

import gzip
import os
import re
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, openssl_problem
from tests.support.command import Cli
from tests.support.daemons import Journald, Syslog, journald_problem
from tests.support.dockerd import Dockerd
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

BOTH = ("sh", "-c", "echo out; echo err >&2; printf 'no end'")
MANY = ("sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
ALL = [f"line {number}" for number in range(3000)]


@pytest.fixture
def here(shared_engine: Engine) -> Iterator[Cli]:
    yield shared_engine.cli
    for id in shared_engine.cli("ps", "-aq").lines:
        shared_engine.cli("rm", "-f", "-v", id)


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ctl-") as path:
        yield Path(path)


def run(cli: Cli, *words: str, name: str = "told", **options: str) -> None:
    chosen = [f"--log-opt={option.replace('_', '-')}={text}" for option, text in options.items()]
    cli("run", "--name", name, "--network", "none", *chosen, *words).check()


def directory(engine: Engine, name: str = "told") -> Path:
    return engine.root / "containers" / engine.inspect(name)["Id"]


# --- files


def test_local_keeps_streams_and_lines(here: Cli, shared_engine: Engine) -> None:
    run(here, "--log-driver=local", "busybox", *BOTH)
    said = here("logs", "told").check()
    assert (said.out, said.err) == ("out\nno end", "err\n")
    stamped = here("logs", "-t", "told").check()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z out\n\S+Z no end", stamped.out)
    assert here("logs", "-n", "1", "told").check().out + here("logs", "-n", "1", "told").check().err
    assert shared_engine.inspect("told")["LogPath"] == ""
    assert (directory(shared_engine) / "container.log").exists()


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_rotated_files_are_compressed_and_read_to_the_first_line(
    here: Cli, shared_engine: Engine, driver: str
) -> None:
    run(here, f"--log-driver={driver}", "busybox", *MANY, max_size="50k", max_file="20", compress="true")
    assert here("logs", "told").check().lines == ALL
    assert here("logs", "-n", "7", "told").check().lines == ALL[-7:]
    assert here("logs", "-n", "2900", "told").check().lines == ALL[-2900:]
    packed = sorted(directory(shared_engine).glob("*.gz"))
    assert packed
    assert all(b"line " in gzip.decompress(one.read_bytes()) for one in packed)
    assert not list(directory(shared_engine).glob("*.part"))
    # Not more than asked for, and nothing is left of what has no name.
    here("start", "-a", "told").check()
    assert here("logs", "told").check().lines == ALL * 2


def test_only_so_many_files_are_kept(here: Cli, shared_engine: Engine) -> None:
    run(here, "--log-driver=local", "busybox", *MANY, max_size="10k", max_file="3")
    assert len(list(directory(shared_engine).glob("container.log*"))) == 3
    lines = here("logs", "told").check().lines
    assert lines == ALL[-len(lines) :]


def test_followers_see_all_of_a_log_that_is_rotated_and_compressed_under_them(here: Cli) -> None:
    loop = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; read x"
    here("run", "-di", "--name", "told", "--network", "none", "--log-driver=local", "--log-opt=max-size=5k",
         "--log-opt=max-file=2", "busybox", "sh", "-c", "echo ready; read x; " + loop).check()  # fmt: skip
    environment = dict(here.environment)
    with subprocess.Popen(here.command("logs", "-f", "told"), stdout=subprocess.PIPE, env=environment) as logs:
        assert logs.stdout is not None
        assert logs.stdout.readline() == b"ready\n"
        with subprocess.Popen(here.command("attach", "told"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              env=dict(here.environment)) as typist:  # fmt: skip
            assert typist.stdin is not None
            typist.stdin.write(b"go\n\n")
            typist.stdin.flush()
            assert logs.stdout.read().decode().splitlines() == ALL


def test_details_tell_labels_variables_and_the_tag(here: Cli, shared_engine: Engine) -> None:
    asked = {"labels": "one,no", "labels_regex": "^x", "env": "A", "env_regex": "^B", "tag": "{{.Name}}/{{.ImageName}}"}
    words = ("-l", "one=1", "-l", "xy=2", "-l", "other=3", "-e", "A=a b", "-e", "BC=d", "-e", "E=f")
    for driver in ("json-file", "local"):
        run(here, *words, f"--log-driver={driver}", "busybox", "echo", "hi", name=f"t-{driver}", **asked)
        told = f"A=a+b,BC=d,one=1,tag=t-{driver}%2Fbusybox,xy=2 hi\n"
        assert here("logs", "--details", f"t-{driver}").check().out == told
        assert here("logs", f"t-{driver}").check().out == "hi\n"
    line = next(directory(shared_engine, "t-json-file").glob("*-json.log")).read_text()
    assert line.startswith('{"log":"hi\\n","stream":"stdout","attrs":{"A":"a b","BC":"d","one":"1","tag":')


def test_none_cannot_be_read(here: Cli) -> None:
    run(here, "--log-driver=none", "busybox", "echo", "hi")
    assert "configured logging driver does not support reading" in here("logs", "told").err


# --- syslog


def normal(text: str) -> str:
    """Without what differs from machine to machine and moment to moment."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)", "MICRO", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", "TIME", text)
    text = re.sub(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d", "STAMP", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    return re.sub(r"(ID|TAG)(\[| )\d+", r"\1\2PID", text)


def test_a_datagram_a_line_in_the_forms_that_docker_knows(here: Cli, place: Path) -> None:
    host = os.uname().nodename
    heads = {
        "": "<30>STAMP ID[PID]: out\n", "rfc3164": f"<30>STAMP {host} ID[PID]: out\n",
        "rfc5424": f"<30>1 TIME {host} ID PID ID - out\n", "rfc5424micro": f"<30>1 MICRO {host} ID PID ID - out\n",
    }  # fmt: skip
    for number, (form, expected) in enumerate(heads.items()):
        daemon = Syslog.unix(place / f"gram{number}", socket.SOCK_DGRAM)
        try:
            address = f"unixgram://{place}/gram{number}"
            run(here, "--log-driver=syslog", "busybox", *BOTH, name=f"f{number}", syslog_address=address,
                syslog_format=form)  # fmt: skip
            daemon.wait("no end")
            heard = sorted(normal(one.decode()) for one in daemon.heard)
            error = expected.replace("<30>", "<27>").replace("out\n", "err\n")
            assert heard == sorted([expected, error, expected.replace("out\n", "no end\n")])
        finally:
            daemon.close()


@pytest.mark.dockerd
@pytest.mark.parametrize("kind", ["unix", "unixgram"])
@pytest.mark.parametrize("form", ["rfc3164", "rfc5424", "rfc5424micro", ""])
def test_dockerd_sends_the_same(here: Cli, dockerd: Dockerd, place: Path, kind: str, form: str) -> None:
    heard: list[str] = []
    for number, cli in enumerate((here, dockerd.docker)):
        path = place / f"log{number}"
        daemon = Syslog.unix(path, socket.SOCK_STREAM if kind == "unix" else socket.SOCK_DGRAM)
        try:
            run(cli, "--rm", "-e", "WHO=me", "--log-driver=syslog", "busybox", "sh", "-c", "echo a; echo; echo 'b c'",
                syslog_address=f"{kind}://{path}", syslog_format=form, syslog_facility="local3",
                tag="TAG", env="WHO")  # fmt: skip
            daemon.wait("b c")
            heard.append(normal(daemon.text))
        finally:
            daemon.close()
    assert heard[0] == heard[1]


def test_a_connection_that_breaks_is_made_again(here: Cli) -> None:
    daemon = Syslog.inet(socket.SOCK_STREAM)
    port = daemon.port
    try:
        here("run", "-di", "--name", "told", "--network", "none", "--log-driver=syslog",
             f"--log-opt=syslog-address=tcp://127.0.0.1:{port}", "busybox", "cat").check()  # fmt: skip
        with subprocess.Popen(here.command("attach", "told"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              env=dict(here.environment)) as typist:  # fmt: skip
            assert typist.stdin is not None
            typist.stdin.write(b"first\n")
            typist.stdin.flush()
            daemon.wait("first")
            daemon.close()
            daemon = Syslog.inet(socket.SOCK_STREAM, port=port)
            typist.stdin.write(b"second\n")
            typist.stdin.flush()
            daemon.wait("second")
            here("rm", "-f", "told").check()
    finally:
        daemon.close()


def test_udp_and_the_last_line_before_the_end(here: Cli) -> None:
    daemon = Syslog.inet(socket.SOCK_DGRAM)
    try:
        run(here, "--log-driver=syslog", "busybox", *BOTH, syslog_address=f"udp://127.0.0.1:{daemon.port}")
        daemon.wait("no end")
        assert here("logs", "told").check().out == "out\nno end"  # from the cache
    finally:
        daemon.close()


def test_tls_counts_octets_and_asks_who_is_there(here: Cli, place: Path) -> None:
    if problem := openssl_problem():
        pytest.skip(problem)
    authority = Authority.make(place / "ca", "ca")
    own = authority.issue("daemon", "serverAuth", names="IP:127.0.0.1")
    client = authority.issue("engine", "clientAuth")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own / "cert.pem", own / "key.pem")
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    daemon = Syslog.inet(socket.SOCK_STREAM, context)
    options = {"syslog_address": f"tcp+tls://127.0.0.1:{daemon.port}", "syslog_format": "rfc5424", "tag": "TAG"}
    try:
        run(here, "--log-driver=syslog", "busybox", "echo", "out", **options,
            syslog_tls_ca_cert=f"{client}/ca.pem", syslog_tls_cert=f"{client}/cert.pem",
            syslog_tls_key=f"{client}/key.pem")  # fmt: skip
        said = daemon.wait("out\n")
        count, _, message = said.partition(" ")
        assert int(count) == len(message)
        with pytest.raises(AssertionError, match=r"failed to initialize logging driver.*certificate verify failed"):
            run(here, "--log-driver=syslog", "busybox", "true", name="stranger", **options)
    finally:
        daemon.close()


def test_who_is_not_there_fails_the_start_and_who_leaves_stalls_nobody(here: Cli, shared_engine: Engine) -> None:
    refused = here("run", "--name", "none", "--network", "none", "--log-driver=syslog",
                   "--log-opt=syslog-address=tcp://127.0.0.1:1", "busybox", "true")  # fmt: skip
    assert refused.code == 125
    assert "failed to initialize logging driver: dial tcp 127.0.0.1:1: connection refused" in refused.err
    assert shared_engine.inspect("none")["State"]["Status"] == "created"
    daemon = Syslog.inet(socket.SOCK_STREAM)
    loop = "read x; i=0; while [ $i -lt 40000 ]; do echo a line of some length, number $i; i=$((i+1)); done"
    here("run", "-di", "--name", "told", "--network", "none", "--log-driver=syslog",
         f"--log-opt=syslog-address=tcp://127.0.0.1:{daemon.port}", "busybox", "sh", "-c", loop).check()  # fmt: skip
    daemon.close()
    # Two megabytes, and nobody who takes them.
    assert here("attach", "told", stdin=b"go\n").lines[-1].endswith("number 39999")
    assert here("wait", "told").check().out == "0\n"
    assert len(here("logs", "told").check().lines) == 40000


def test_the_cache_has_options_and_can_be_disabled(here: Cli, shared_engine: Engine) -> None:
    daemon = Syslog.inet(socket.SOCK_DGRAM)
    address = f"udp://127.0.0.1:{daemon.port}"
    try:
        run(here, "--log-driver=syslog", "busybox", "echo", "out", syslog_address=address, cache_disabled="true")
        assert "configured logging driver does not support reading" in here("logs", "told").err
        assert not list(directory(shared_engine).glob("container*"))
        options = ("--log-driver=syslog", f"--log-opt=syslog-address={address}", "--log-opt=cache-disabled=true")
        attached = here("run", "--rm", "--network", "none", *options, "busybox", *MANY).check()
        assert attached.lines == ALL
        run(here, "--log-driver=syslog", "busybox", *MANY, name="small", syslog_address=address,
            cache_max_size="10k", cache_max_file="2")  # fmt: skip
        kept = here("logs", "small").check().lines
        assert 0 < len(kept) < 3000
        assert kept == ALL[-len(kept) :]
    finally:
        daemon.close()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("json-file x=y", "unknown log opt 'x' for json-file log driver"),
        ("local x=y", "unknown log opt 'x' for log driver local"),
        ("syslog x=y", "unknown log opt 'x' for syslog log driver"),
        ("journald x=y", "unknown log opt 'x' for journald log driver"),
        ("json-file max-size=much", "invalid size: 'much'"),
        ("json-file max-file=0", "max-file cannot be less than 1"),
        ("json-file compress=yes", 'strconv.ParseBool: parsing "yes": invalid syntax'),
        ("json-file compress=true max-file=1", "compress cannot be true when max-file is less than 2"),
        ("local max-size=0", "invalid value for max-size: 0"),
        ("local max-file=1", "compression cannot be enabled when max file count is 1"),
        ("json-file mode=fast", "logger: logging mode not supported: fast"),
        ("json-file max-buffer-size=1m", "max-buffer-size option is only supported with 'mode=non-blocking'"),
        ("json-file mode=non-blocking max-buffer-size=x", "error parsing option max-buffer-size: invalid size: 'x'"),
        ("json-file env-regex=(", "error parsing regexp"),
        ("json-file tag={{.Name", "error parsing log tag"),
        ("syslog syslog-address=localhost", "syslog-address should be in form proto://address, got localhost"),
        ("syslog syslog-address=unix:///no/such", "stat /no/such: no such file or directory"),
        ("syslog syslog-facility=loud", "invalid syslog facility"),
        ("syslog syslog-format=rfc1", "Invalid syslog format"),
        ("syslog cache-disabled=perhaps", "invalid value for option cache-disabled: perhaps"),
        ("gelf", "logger: no log driver named 'gelf' is registered"),
        ("some/plugin", "logger: no log driver named 'some/plugin' is registered"),
    ],
)
def test_what_is_refused_at_create(here: Cli, words: str, sentence: str) -> None:
    driver, *options = words.split(" ", 1)
    chosen = [f"--log-opt={one}" for text in options for one in text.split(" ")]
    refused = here("create", f"--log-driver={driver}", *chosen, "busybox", "true")
    assert refused.code != 0
    assert sentence in refused.err


# --- the journal, and an engine's own defaults


@pytest.fixture
def journal(workspace: Path, busybox_archive: Path) -> Iterator[tuple[Engine, Journald]]:
    if problem := journald_problem():
        pytest.skip(problem)
    root = Path(tempfile.mkdtemp(dir=workspace))
    daemon = Journald(root.parent / f"{root.name}-journald")
    engine = Engine(root, "--log-driver=journald", "--log-opt", "tag={{.Name}}", "--log-opt", "labels=one")
    engine.within = daemon.within
    try:
        engine.start().load(busybox_archive)
        yield engine, daemon
    finally:
        engine.remove()
        daemon.close()


def test_the_journal_by_an_engines_default(journal: tuple[Engine, Journald]) -> None:
    engine, daemon = journal
    cli = engine.cli
    assert cli("info", "--format", "{{.LoggingDriver}}").check().out == "journald\n"
    cli("run", "--name", "told", "--network", "none", "-l", "one=1", "busybox", *BOTH).check()
    inspected = engine.inspect("told")
    assert inspected["HostConfig"]["LogConfig"] == {
        "Type": "journald", "Config": {"tag": "{{.Name}}", "labels": "one"},
    }  # fmt: skip
    entries = daemon.entries("CONTAINER_NAME=told")
    told = {one["MESSAGE"]: one for one in entries}
    assert {message: one["PRIORITY"] for message, one in told.items()} == {"out": "6", "err": "3", "no end": "6"}
    first = told["out"]
    assert first["CONTAINER_ID_FULL"] == inspected["Id"]
    assert first["CONTAINER_ID"] == inspected["Id"][:12]
    assert (first["CONTAINER_TAG"], first["SYSLOG_IDENTIFIER"], first["ONE"]) == ("told", "told", "1")
    assert first["IMAGE_NAME"] == "busybox"
    assert cli("logs", "told").check().out == "out\nno end"
    long = cli("run", "--rm", "--network", "none", "--name", "long", "busybox", "sh", "-c",
               "head -c 40000 /dev/zero | tr '\\0' x; echo").check()  # fmt: skip
    assert len(long.out) == 40001
    pieces = daemon.entries("CONTAINER_NAME=long")
    assert [len(one["MESSAGE"]) for one in pieces] == [16384, 16384, 40000 - 2 * 16384]
    assert [one.get("CONTAINER_PARTIAL_MESSAGE") for one in pieces] == ["true", "true", None]
    # One that asks for another driver has nothing of the default's options.
    cli("run", "--name", "other", "--network", "none", "--log-driver=json-file", "busybox", "true").check()
    assert engine.inspect("other")["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}


def test_an_engine_refuses_defaults_that_no_container_could_have(workspace: Path) -> None:
    root = Path(tempfile.mkdtemp(dir=workspace))
    engine = Engine(root, "--log-driver=local", "--log-opt=max-file=none", judged=False)
    try:
        with pytest.raises(AssertionError, match="failed to set log opts: invalid value for max-file: none"):
            engine.start()
    finally:
        engine.remove()


def test_without_a_journal_there_is_no_journald(here: Cli) -> None:
    if os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("this machine has a journal")
    refused = here("run", "--network", "none", "--log-driver=journald", "busybox", "true")
    assert "failed to initialize logging driver: journald is not enabled on this host" in refused.err
