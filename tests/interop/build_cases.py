"""Dockerfiles that are built by several builders, with their contexts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tests.support import contexts


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """A Dockerfile on the image ``start``, a busybox; the files beside it, some with modes; buildctl's options."""

    dockerfile: str
    files: Mapping[str, str | bytes] = dataclasses.field(default_factory=dict)
    modes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    options: dict[str, str] = dataclasses.field(default_factory=dict)


_TREE = {"a": "a", "d/b": "bb", "d/e/c": "ccc", "d/l": "-> ../a", "x.log": "", "s p": "space"}

CASES = {
    "configuration": Case(
        """FROM start
MAINTAINER somebody
ENV A=b C="d e"
ENV F g h
LABEL l=m "n o"="p q"
USER 1000:1000
WORKDIR /w/x
WORKDIR y
EXPOSE 80 53/udp 8000-8002
VOLUME /v ["/u"]
VOLUME ["/t"]
STOPSIGNAL SIGUSR1
SHELL ["/bin/sh", "-ec"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --start-interval=2s --retries=4 CMD test -e /
ONBUILD RUN echo x
ENTRYPOINT ["/bin/echo", "a"]
CMD b c
"""
    ),
    "healthcheck and commands": Case(
        "FROM start\nHEALTHCHECK NONE\nCMD [\"a\", \"b\"]\nENTRYPOINT echo $HOME\nSTOPSIGNAL 9\nUSER app\n"
    ),
    "entrypoint takes the command": Case("FROM start\nENTRYPOINT [\"/bin/echo\"]\n"),
    "run": Case(
        """FROM start
RUN echo a > /a && chmod 4755 /a && mkdir -p /d/e && ln -s ../a /d/l && ln /a /d/h && mkfifo /d/p
RUN rm -r /d/e /bin/vi && echo b > /a
RUN ["touch", "/n m"]
RUN true
RUN chown -R 7:8 /d && chmod 1777 /d
RUN rm -r /d && mkdir /d && echo new > /d/f
"""
    ),
    "here-documents": Case(
        """FROM start
RUN <<EOF
echo a > /a
echo $A > /b
EOF
RUN <<"EOF" cat > /c
$A
EOF
COPY <<-one <<two /d/
	x $HOSTNAME
	one
y
two
RUN <<EOF
#!/bin/sh -x
echo script > /s
EOF
"""
    ),
    "copy": Case(
        """FROM start
COPY a /
COPY a /new
COPY a /dir/
COPY d /e
COPY d /etc
COPY ["a", "x.log", "s p", "/many/"]
COPY ["s p", "/s p/"]
COPY *.log d*/b /glob/
WORKDIR /w
COPY . .
COPY d/e ../up
""",
        _TREE, {"a": 0o755, "d/b": 0o600},
    ),
    "copy with flags": Case(
        """FROM start
RUN echo app:x:1234:1235::/:/bin/sh >> /etc/passwd; echo adm:x:4: >> /etc/group
COPY --chown=1:2 d /a
COPY --chown=app d /b
COPY --chown=app:adm --chmod=640 a /c/d
COPY --chmod=755 d /d
COPY --chmod=u=rwX,go=rX d /e
COPY --chmod=750 d /k
COPY --chmod=640 a /m/n/a
COPY --parents d/e/c a /f/
COPY --parents d/./e /g/
COPY --exclude=*.log --exclude=d . /h/
COPY --link d /i/
COPY --link --chown=5:6 a /j
""",
        _TREE, {"a": 0o755, "d/b": 0o600},
    ),
    "copy from": Case(
        """FROM start AS one
RUN mkdir -p /o/p && echo q > /o/p/q && ln -s p/q /o/l && chown -R 3:4 /o && chmod 700 /o/p
FROM one AS two
RUN echo two > /o/two
FROM start
COPY --from=one /o /o
COPY --from=two /o/l /o/two /t/
COPY --from=1 /o/p /p
COPY --from=start /bin/busybox /bb
COPY --from=one --chown=9 /o/p/* /n/
""",
    ),
    "scratch": Case("FROM scratch\nCOPY a /\nCOPY d /d/\nENV A=b\nCMD [\"/a\"]\n", _TREE),
    "scratch without a layer": Case("FROM scratch\nLABEL a=b\n"),
    "arguments": Case(
        """ARG V=1
ARG N=start
FROM $N
ARG V
ARG W=w X
ARG Z=${V}-${W:-no}${X:+yes}
ENV E=$Z
RUN echo $V $W $X $Z > /o
LABEL l=${E%-*} m="${W/w/v}"
""",
        options={"build-arg:X": "given", "build-arg:V": "2"},
    ),
    "platform arguments": Case("FROM start\nARG TARGETPLATFORM\nARG BUILDARCH\nENV T=$TARGETPLATFORM B=$BUILDARCH\n"),
    "target and labels": Case(
        "FROM start AS a\nENV A=1\nFROM start AS b\nENV B=1\nFROM a AS c\nENV C=1\n",
        options={"target": "a", "label:x": "y"},
    ),
    "onbuild": Case(
        "FROM start AS a\nONBUILD COPY a /o\nONBUILD ENV O=1\nONBUILD RUN echo $O > /r\nFROM a\nENV P=$O\n", _TREE
    ),
    "mounts": Case(
        """FROM start AS one
RUN echo one > /one
FROM start
RUN --mount=type=bind,source=d,target=/m cp -r /m /n
RUN --mount=type=bind,from=one,source=/one,target=/m/n/one cat /m/n/one > /o
RUN --mount=type=tmpfs,target=/t/u touch /t/u/x
RUN --mount=type=cache,target=/cache/c echo x > /cache/c/x
RUN --mount=type=secret,id=none echo none > /s
RUN --network=none ip link | grep -c UP > /up || true
""",
        _TREE,
    ),
    "working directories": Case(
        """FROM start
WORKDIR /a/b
RUN echo x > c
WORKDIR ..
WORKDIR d
RUN pwd > /p
WORKDIR /etc
RUN echo app:x:1234:1235::/:/bin/sh >> /etc/passwd
USER app
WORKDIR /named
USER 12:13
WORKDIR /of/user
""",
    ),
    "add": Case(
        "FROM start\nADD a d /x/\nADD t.tar /y/\nADD --chown=1:1 t.tar /z/\nADD --unpack=false t.tar /k/\n",
        {**_TREE, "t.tar": contexts.archive({"m": "m", "n/o": "o", "n/l": "-> o"})},
    ),
    "ignored": Case("FROM start\nCOPY . /c/\n", {**_TREE, ".dockerignore": "*.log\nd/*\n!d/b\nDockerfile\n"}),
    "refused": Case("FROM start\nCOPY nothing /\n"),
    "refused, too": Case("FROM start\nRUN false\n"),
    "a file where a directory is": Case("FROM start\nCOPY a /bin\nCOPY a /etc/\nRUN ls -l /bin/a\n", _TREE),
    "through a link": Case(
        "FROM start\nRUN mkdir /real && ln -s real /link && ln -s /real/f /file\nCOPY d /link/\nCOPY a /file\n", _TREE
    ),
    "replaced kinds": Case("FROM start\nRUN mkdir -p /x/d && echo f > /x/a\nCOPY d /x/d\nCOPY a /x/a\n", _TREE),
}  # fmt: skip
