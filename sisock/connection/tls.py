"""Connect to the router by TLS: whom to trust, and that it is the host that was asked for."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet import endpoints, ssl
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer

from sisock.connection.settings import Settings
from sisock.errors import SettingsError


def make_tls_endpoint(settings: Settings, reactor: Any, timeout: float) -> Any:
    """Make the Twisted endpoint of the router's port with TLS.

    Raises
    ------
    SettingsError
        If the CA certificate in the home folder is not one, or the host's name cannot be one.
    """
    host, port = settings.host, settings.port
    if "_" in host:  # as docker's names have; Twisted calls them invalid, but can connect
        plain = endpoints.TCP4ClientEndpoint(reactor, host, port, timeout=timeout)
    else:
        plain = endpoints.HostnameEndpoint(reactor, host, port, timeout=timeout)
    return endpoints.wrapClientTLS(_Verified(settings), plain)


def has_names(certificate: x509.Certificate) -> bool:
    """Return whether a certificate says for which hosts it is, in subject alternative names."""
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return False
    return True


@implementer(IOpenSSLClientConnectionCreator)
class _Verified:
    """Twisted's client options, but for two things.

    The host's name may have underscores. And a certificate without any names, as openssl made
    them in 2018, is accepted without a check of the host, as Twisted does with a traceback each
    time; but only one of a CA of one's own.
    """

    def __init__(self, settings: Settings) -> None:
        self._is_own = settings.home.ca_certificate.exists()
        self._sent: bytes | None
        self._expected: DNS_ID | IPAddress_ID
        self._context = ssl.CertificateOptions(trustRoot=_trust_root(settings)).getContext()
        try:
            ipaddress.ip_address(settings.host)
            self._sent, self._expected = None, IPAddress_ID(settings.host)
        except ValueError:
            self._sent, self._expected = _host_name(settings.host)

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Make the connection that checks the certificate's names during the handshake."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(protocol)
        if self._sent is not None:
            connection.set_tlsext_host_name(self._sent)
        connection.set_verify(SSL.VERIFY_PEER, self._make_check(protocol))
        return connection

    def _make_check(self, protocol: Any) -> Callable[..., bool]:
        def check(_: Any, certificate: crypto.X509, __: int, depth: int, is_trusted: int) -> bool:
            if depth or not is_trusted:
                return bool(is_trusted)
            try:
                self._check_names(certificate)
            except Exception:  # OpenSSL's callback would swallow it
                protocol.failVerification(Failure())
                return False
            return True

        return check

    def _check_names(self, certificate: crypto.X509) -> None:
        try:
            verify_service_identity(extract_patterns(certificate), [self._expected], [])
        except CertificateError:
            if has_names(certificate.to_cryptography()) or not self._is_own:
                raise VerificationError(errors=[]) from None


def _host_name(host: str) -> tuple[bytes, DNS_ID]:
    try:
        encoded = host.encode("idna")
        return encoded, DNS_ID(encoded.decode())
    except ValueError:
        raise SettingsError(f"CROSSBAR_HOST: {host!r} is not the name of a computer") from None


def _trust_root(settings: Settings) -> Any:
    """Return the CA of this installation, or the system's if it has none of its own."""
    path = settings.home.ca_certificate
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return ssl.platformTrust()
    except OSError as problem:
        raise SettingsError(
            f"the CA certificate {path} cannot be read: {problem.strerror}"
        ) from None
    try:
        return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem)])
    except (SSL.Error, crypto.Error, ValueError):
        raise SettingsError(f"{path} is not a certificate in PEM format") from None
