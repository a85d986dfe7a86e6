"""Create the WebSocket of a session: TLS or Unix socket, certificates, CBOR, pings."""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import suppress
from typing import Any

from autobahn.twisted.websocket import WampWebSocketClientFactory, WampWebSocketClientProtocol
from autobahn.wamp.serializer import JsonSerializer, MsgPackSerializer
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet import endpoints, error, ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from sisock.connection.cbor import TolerantSerializer
from sisock.connection.runtime import DemotedLogger
from sisock.connection.settings import Settings
from sisock.errors import RouterUnreachable, SettingsError

CONNECT_TIMEOUT = 10
PING_INTERVAL = 5
PING_TIMEOUT = 8
"""Seconds; equal to the router's settings, so that both sides notice a lost network within 15 s."""

LOCAL_BYTES = 2 << 20
"""Send buffer of a Unix socket in bytes, for one or two large messages; the default is 208 KiB."""

READ_BYTES = 256 << 10
WRITE_BYTES = 1 << 20
"""Bytes to read from or write to a socket at once; Twisted's defaults are 64 and 128 KiB."""


def tune(protocol: Any) -> None:
    """Send small messages at once and large ones in large parts."""
    transport = protocol.transport
    with suppress(AttributeError, OSError):  # a Unix socket has no such option
        transport.setTcpNoDelay(True)  # saves 44 ms per message; autobahn sets it too early
    while hasattr(transport, "transport"):  # unwrap TLS
        transport = transport.transport
    if transport.socket.family == socket.AF_UNIX:
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LOCAL_BYTES)
    transport.bufferSize = READ_BYTES
    transport.SEND_LIMIT = WRITE_BYTES


def leave_log_texts_plain() -> None:
    """Keep autobahn and crossbar from formatting log messages that are not written.

    With small messages, the formatting takes up to a quarter of a router's time.
    """
    of_autobahn = ("wamp.websocket", "twisted.websocket", "websocket.protocol")
    of_router = ("router", "role", "dealer", "broker")
    modules = [f"autobahn.{name}" for name in of_autobahn]
    modules += [f"crossbar.router.{name}" for name in of_router]
    for module in map(sys.modules.get, modules):
        for name in ("hlval", "hltype", "hlid", "hlflag", "pformat"):
            if hasattr(module, name):
                setattr(module, name, lambda value, *_texts, **_style: value)


class ClientProtocol(WampWebSocketClientProtocol):
    """A WAMP connection that notices a silent router, and reports why it ended."""

    log = DemotedLogger()
    _why: Failure | None = None

    def connectionMade(self) -> None:
        """Tune the socket (`tune`)."""
        super().connectionMade()
        tune(self)
        self._pings = LoopingCall(self._ping)

    def onOpen(self) -> None:
        """Begin to ping; autobahn's own pings would wait for the end of a frame on a slow line."""
        super().onOpen()
        self._pings.start(PING_INTERVAL, now=False)

    def _ping(self) -> None:
        if time.monotonic() - self._last_data > PING_INTERVAL + PING_TIMEOUT:
            self._give_up()
        else:
            self.sendPing()

    def onOpenHandshakeTimeout(self) -> None:
        """Give up a router that accepts the connection but does not answer."""
        if self.state == self.STATE_CONNECTING:
            self._give_up()

    def _give_up(self) -> None:
        self._why = Failure(error.ConnectionAborted())
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Process data, and note the time: any byte shows that the router is alive."""
        self._last_data = time.monotonic()
        super().dataReceived(data)

    def sendFrame(
        self, opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, **_: Any
    ) -> None:
        """Send a frame with a mask of zeros, for which neither side has to change the payload.

        Masks protect web proxies from scripts in browsers; programs do not need them.
        """
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = struct.pack("!BH", 0x80 | 126, size)
        else:
            length = struct.pack("!BQ", 0x80 | 127, size)
        head = b"".join((bytes([fin << 7 | rsv << 4 | opcode]), length, bytes(4)))
        if size < 1 << 16:
            self.sendData(head + payload)
        else:  # not joined, as that copies the payload
            self.sendData(head)
            self.sendData(payload)

    def connectionLost(self, reason: Failure) -> None:
        """Report the reason; a failed TLS handshake is reported nowhere else."""
        if self._pings.running:
            self._pings.stop()
        super().connectionLost(reason)
        self.factory.on_lost(self._why or reason)


def make_factory(url: str, session: Any, on_lost: Any) -> WampWebSocketClientFactory:
    """Make the factory for a session's connection; `on_lost` gets the Failure when it ends."""
    leave_log_texts_plain()
    factory = WampWebSocketClientFactory(
        lambda: session,
        url=url,
        # New serializers for each session, because serializers keep statistics.
        serializers=[TolerantSerializer(), MsgPackSerializer(), JsonSerializer()],
    )
    factory.protocol = ClientProtocol
    factory.noisy = False
    factory.on_lost = on_lost
    factory.setProtocolOptions(
        maxMessagePayloadSize=0,
        maxFramePayloadSize=0,
        openHandshakeTimeout=CONNECT_TIMEOUT,
        closeHandshakeTimeout=1,
    )
    return factory


def make_endpoint(settings: Settings, reactor: Any) -> Any:
    """Make the endpoint of the router; raises SettingsError for an invalid host or CA."""
    if settings.socket:
        return endpoints.UNIXClientEndpoint(reactor, settings.socket, timeout=CONNECT_TIMEOUT)
    # HostnameEndpoint rejects names with underscores, which Docker uses.
    kind = endpoints.TCP4ClientEndpoint if "_" in settings.host else endpoints.HostnameEndpoint
    plain = kind(reactor, settings.host, settings.port, timeout=CONNECT_TIMEOUT)
    return endpoints.wrapClientTLS(_Verified(settings), plain)


def is_certificate_for(certificate: x509.Certificate, settings: Settings) -> bool:
    """Return whether a certificate is for the router's host.

    A certificate without names, as openssl made them in 2018, is valid for every host if it is
    from the router's own CA.
    """
    try:
        verify_service_identity(extract_patterns(certificate), [_host_id(settings.host)], [])
    except CertificateError:
        return _has_own_ca(settings) and not certified_names(certificate)
    except Exception:  # the certificate is for another host, or malformed
        return False
    return True


def certified_names(certificate: x509.Certificate) -> set[str]:
    """Return the names and addresses in a certificate."""
    kind = x509.SubjectAlternativeName
    try:
        names = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names}


@implementer(IOpenSSLClientConnectionCreator)
class _Verified:
    """Verify certificates like Twisted's client options, but with `is_certificate_for`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._id = _host_id(settings.host)
        self._context = ssl.CertificateOptions(trustRoot=_trust_root(settings)).getContext()

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Make the connection that checks the certificate's names during the handshake."""

        def check(_: Any, certificate: crypto.X509, __: int, depth: int, is_trusted: int) -> bool:
            if depth or not is_trusted:
                return bool(is_trusted)
            is_valid = is_certificate_for(certificate.to_cryptography(), self._settings)
            if not is_valid:
                protocol.failVerification(Failure(VerificationError(errors=[])))
            return is_valid

        connection = SSL.Connection(self._context, None)
        connection.set_app_data(protocol)
        if isinstance(self._id, DNS_ID):
            connection.set_tlsext_host_name(self._id.hostname)
        connection.set_verify(SSL.VERIFY_PEER, check)
        return connection


def _has_own_ca(settings: Settings) -> bool:
    return settings.ca is not None and settings.ca.exists()


def _host_id(host: str) -> DNS_ID | IPAddress_ID:
    with suppress(ValueError):
        return IPAddress_ID(host)
    try:
        return DNS_ID(host.encode("idna").decode())
    except ValueError:
        raise SettingsError(f"CROSSBAR_HOST: {host!r} is not the name of a computer") from None


def _trust_root(settings: Settings) -> Any:
    """Return the CA from the settings, or the system's CAs if there is none."""
    path = settings.ca
    if path is None:
        return ssl.platformTrust()
    try:
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(path.read_bytes())])
    except OSError as problem:
        is_missing = isinstance(problem, FileNotFoundError | NotADirectoryError)
        if is_missing and settings.site is None:
            return ssl.platformTrust()
        why = f"the CA certificate {path} cannot be read: {problem.strerror}"
    except (SSL.Error, crypto.Error, ValueError):
        why = f"{path} is not a certificate in PEM format"
    raise SettingsError(why)


def silence(settings: Settings) -> str:
    """Return a sentence about a router that does not answer."""
    why = "is its process stopped or overloaded, or the network down?"
    return f"the router at {settings.address} does not answer: {why}"


def explain(failure: Failure, settings: Settings) -> RouterUnreachable:
    """Return an error that says why the connection failed or ended, and what to do."""
    cause = failure.value
    names = dict.fromkeys(map(settings.setting, ("CROSSBAR_HOST", "CROSSBAR_TLS_PORT")))
    if isinstance(cause, error.ConnectionAborted):  # by us
        return RouterUnreachable(silence(settings))
    if isinstance(cause, error.ConnectionDone | error.ConnectionLost):
        return RouterUnreachable(f"the connection to the router at {settings.address} was lost")
    if isinstance(cause, error.DNSLookupError):
        why = f"the host {settings.host} is not known: check {settings.setting('CROSSBAR_HOST')}"
    elif isinstance(cause, error.ConnectionRefusedError | error.UnknownHostError):
        why = f"nothing listens there: start the router, or check {' and '.join(names)}"
    elif isinstance(cause, error.ConnectError) and settings.socket:
        advice = "unset CROSSBAR_SOCKET to use TLS"
        if settings.site is not None:
            advice = f"check {settings.setting('CROSSBAR_SOCKET')}"
        why = f"{cause}: start the router, or {advice}"
    elif isinstance(cause, error.TimeoutError):
        why = f"no answer: check {', '.join(names)} and the network"
    elif isinstance(cause, VerificationError):
        advice = f"on its computer run `sisock certs --name {settings.host}` and restart it"
        why = f"its certificate is not for {settings.host}: {advice}"
    elif isinstance(cause, SSL.Error):
        advice = f"put its CA's into {settings.ca}"
        if _has_own_ca(settings):
            advice = f"is {settings.ca} the CA of this router?"
        elif settings.ca is None:
            advice = f"name the file of its CA as `ca` in {settings.setting('CROSSBAR_HOST')}"
        reasons = next(iter(cause.args), None)  # a list, except in a SysCallError
        text = reasons[0][-1] if reasons and isinstance(reasons, list) else cause
        why = f"TLS failed ({text}): {advice}"
    else:
        why = str(cause) or type(cause).__name__
    return RouterUnreachable(f"the router at {settings.address} cannot be reached: {why}")
