"""Servers that speak TLS."""

import ssl

import pytest
import trustme


@pytest.fixture
def secure(monkeypatch, tmp_path):
    """Makes servers speak TLS with a certificate of an authority that the user has named."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))

    def encrypt(server, name="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)  # each in its own thread
        return server.base.replace("http:", "https:")

    return encrypt
