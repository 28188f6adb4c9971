"""One careful call over HTTP: the connection goes to the address that was checked, and size and time are bounded.

A name is resolved once for a connection; what it resolves to is checked, and that very address is connected to, so a
name that changes its mind between check and use gains nothing. Redirects are not followed, proxies not asked.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..records.errors import LoadError, ModelError, shorten

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
"""Where clouds hand out their machines' credentials, beside the link-local 169.254.169.254."""
WRAPPERS = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96")))
"""IPv6 networks whose last four bytes are an IPv4 address that the packet ends up at."""
HERE, NEAR = "it is this machine", "it lies in a private network"
PIECE = 2**16


class Failed(Exception):
    """A call that did not come through; another try may. ``reached`` says whether the other side was spoken to."""

    def __init__(self, why: str, reached: bool = True):
        super().__init__(why)
        self.reached = reached


class _Closed(Failed):
    """The connection was closed before anything of a reply came."""


@dataclass(frozen=True)
class Reply:
    """What came back: the status, the headers by lower-case names, the bytes (of a status below 300 only)."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(address: Address, private: bool) -> str:
    """Why nothing is sent to ``address``; empty where it may be."""
    inner = _inner(address)
    if inner is not None:
        return refusal(inner, private)
    if address in METADATA or address.is_link_local:
        return "it is link-local, or where clouds hand out credentials: no model is served there"
    if address.is_loopback:
        return "" if private else HERE
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return "it is not the address of one host"
    if private or (address.is_global and not (isinstance(address, ipaddress.IPv6Address) and address.is_site_local)):
        return ""
    return NEAR


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 one that only wraps it."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return None
    if address.ipv4_mapped is not None or address.sixtofour is not None:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    wrapped = any(address in network for network in WRAPPERS)
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if wrapped else None


def checked_url(url: str, allow_http: bool) -> SplitResult:
    """The parts of a URL that may be called. Raises :class:`LoadError`, never with more of it than scheme and host."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise LoadError("the url holds blanks or characters that must be written as %xx", fix="write it plainly")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise LoadError("the url cannot be read", why=shorten(error)) from error
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise LoadError("the url must begin with https:// and a host", where=shorten(f"{parts.scheme}://{host}"))
    if "@" in parts.netloc:
        raise LoadError(
            "the url holds a user's name or password", fix='put it into a header: Authorization: "Bearer ${NAME}"'
        )
    if parts.fragment:
        raise LoadError("the url has a part behind #, which no server sees", where=host, fix="leave it out")
    numeric = host.rpartition(".")[2]
    if numeric[:1].isdigit() and not _is_address(host):
        raise LoadError(f"{shorten(host)!r} is a number in disguise", fix="write the address as 203.0.113.7")
    if parts.scheme == "http" and not allow_http and not _is_here(host):
        raise LoadError(
            "the url is http, so rows, answers and secrets could be read and changed on the way",
            where=shorten(host),
            fix="use https; allow_http: true permits it for this file",
        )
    return parts


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


class Web:
    """Calls one URL, over connections that are kept open between calls.

    ``private`` allows addresses of this machine and of private networks, ``certificate`` is a file of authorities to
    trust instead of the system's; a reply may have ``largest`` bytes. May be called from several threads.
    """

    def __init__(
        self, url: str, *, private: bool = False, allow_http: bool = False, certificate: str = "", largest: int = 2**24
    ):
        self._parts = checked_url(url, allow_http)
        self.host = self._parts.hostname or ""
        self._private, self._largest = private, largest
        self._tls = _context(certificate) if self._parts.scheme == "https" else None
        self._port = self._parts.port or (80 if self._tls is None else 443)
        path = self._parts.path or "/"
        self._target = f"{path}?{self._parts.query}" if self._parts.query else path
        self._idle: list[http.client.HTTPConnection] = []
        self._owner, self._gate = os.getpid(), threading.Lock()

    def call(self, method: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Reply:
        """Send ``body`` and take the reply, all within so many seconds.

        Raises :class:`Failed` where another try may help, :class:`ModelError` where none will.
        """
        until = time.monotonic() + seconds
        kept = self._taken()
        if kept is not None:
            with suppress(_Closed):  # by the other side, while it lay idle
                return self._exchange(kept, method, body, headers, until)
        return self._exchange(self._connected(until), method, body, headers, until)

    def close(self) -> None:
        """Close the connections that lie idle."""
        with self._gate:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _taken(self) -> http.client.HTTPConnection | None:
        with self._gate:
            if self._owner != os.getpid():  # a fork: the connections are the parent's
                self._owner, self._idle = os.getpid(), []
            return self._idle.pop() if self._idle else None

    def _connected(self, until: float) -> http.client.HTTPConnection:
        addresses, failure = self._addresses(), Failed("its name cannot be resolved", reached=False)
        for place, (family, address) in enumerate(addresses):
            line = _Line(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP), until)
            try:
                line.connect(address, share=len(addresses) - place)
                if self._tls is not None:
                    line.secure(self._tls, self.host)
            except ssl.SSLCertVerificationError as error:
                line.close()
                raise ModelError(
                    "the certificate does not prove who answers", where=self.host, why=error.verify_message,
                    fix="certificate: names a file of authorities to trust",
                ) from error  # fmt: skip
            except OSError as error:
                line.close()
                failure = Failed(f"no connection: {_told(error)}", reached=False)
                continue
            connection = http.client.HTTPConnection(self.host, self._port)
            connection.auto_open = 0  # never to an address of its own choosing
            connection.sock = line  # pyright: ignore[reportAttributeAccessIssue]
            return connection
        raise failure

    def _addresses(self) -> list[tuple[int, tuple[str, int]]]:
        """What the name resolves to, all of it allowed. Raises :class:`ModelError` where one address is not."""
        try:
            found = socket.getaddrinfo(self.host, self._port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            raise Failed("its name cannot be resolved", reached=False) from error
        addresses = []
        for family, _, _, _, place in found:
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            why = refusal(ipaddress.ip_address(str(place[0]).partition("%")[0]), self._private)
            if why:
                fix = "private: true in the file permits it" if why in (HERE, NEAR) else ""
                raise ModelError(
                    "nothing was sent: the address behind the url is not allowed", where=self.host, why=why, fix=fix
                )
            addresses.append((family, place))
        return addresses

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, body: bytes, headers: Mapping[str, str], until: float
    ) -> Reply:
        line: Any = connection.sock
        line.until = until
        host = f"[{self.host}]" if ":" in self.host else self.host
        named = {"Host": host if self._parts.port is None else f"{host}:{self._port}", **headers}
        answer, whole = None, False
        try:
            connection.request(method, self._target, body, named)
            answer = connection.getresponse()
            reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, self._body(answer))
            whole = answer.isclosed() and not answer.will_close
        except (OSError, http.client.HTTPException) as error:
            kind = _Closed if answer is None and isinstance(error, ConnectionError) else Failed
            raise kind(_told(error)) from error
        finally:
            if whole:
                with self._gate:
                    self._idle.append(connection)
            else:
                if answer is not None:
                    answer.close()
                connection.close()
        return reply

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        """The reply's bytes, given up at the limit; of an error or a redirect, whose text is never shown, none."""
        if answer.status >= 300:
            answer.read(PIECE)
            return b""
        pieces, size = [], 0
        while size <= self._largest and (answer.length or 0) <= self._largest:
            piece = answer.read(PIECE)
            if not piece:
                if answer.length:
                    raise Failed("the reply broke off")
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
        raise ModelError(
            f"the reply is larger than {self._largest:,} bytes",
            where=self.host,
            fix="ask fewer rows at once with rows:, or raise largest_reply: in the file",
        )


def _context(certificate: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificate or None)
    except (OSError, ssl.SSLError) as error:
        raise LoadError("the file of certificates cannot be read", where=certificate, why=_told(error)) from error


def _told(error: BaseException) -> str:
    """What went wrong on the line, in words that hold nothing of what the other side sent."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the reply broke off"
    if isinstance(error, http.client.RemoteDisconnected) or not isinstance(error, http.client.HTTPException):
        return (error.strerror if isinstance(error, OSError) else "") or "the connection was closed"
    return "what answered does not speak HTTP"


class _Line:
    """A socket whose every step ends by one moment: what trickles in byte by byte wins no time."""

    def __init__(self, plain: socket.socket, until: float):
        self._socket, self.until = plain, until
        self._readers, self._closing = 0, False

    def left(self) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def connect(self, address: tuple[str, int], share: int) -> None:
        """Connect within a fair share of the time, where other addresses wait to be tried."""
        self._socket.settimeout(self.left() / share)
        self._socket.connect(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        self._socket.settimeout(self.left())
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            self._socket.settimeout(self.left())
            self._socket.sendall(view[start : start + PIECE])

    def receive(self, room: memoryview) -> int:
        self._socket.settimeout(self.left())
        return self._socket.recv_into(room)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Incoming(self), PIECE)

    def close(self) -> None:
        """Close the socket, as soon as nobody reads from it any more."""
        self._closing = True
        self.released(0)

    def released(self, readers: int) -> None:
        self._readers -= readers
        if self._closing and self._readers <= 0:
            self._socket.close()


class _Incoming(io.RawIOBase):
    """What comes in over a line, as a stream that can be read once."""

    def __init__(self, line: _Line):
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._line.receive(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._line.released(1)
