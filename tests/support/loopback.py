"""A server on loopback that sends exactly the bytes that a test lists, with TLS or without."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


class Pause(NamedTuple):
    """Nothing is sent for so many seconds."""

    seconds: float


class Close(NamedTuple):
    """The server ends the connection."""


#: What is sent for one request.
Reply = Iterable[bytes | Pause | Close]


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


def reply(status: int, body: Any, *more: str) -> list[bytes]:
    """Return an answer with Content-Length; `more` are lines of headers. What is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Some", f"Content-Length: {len(content)}", *more, "", ""]
    return ["\r\n".join(lines).encode() + content]


def dripping(parts: Iterable[bytes], every: float = 0.1) -> list[bytes | Pause]:
    """Return the same bytes, one at a time."""
    return [step for part in parts for byte in part for step in (bytes([byte]), Pause(every))]


class Loopback:
    """Answers each request with the next of `replies`, and with the last from then on."""

    def __init__(self, replies: list[Reply], context: ssl.SSLContext | None = None) -> None:
        self.replies, self._context = replies, context
        self.requests: list[Request] = []
        self.connections = 0
        self._ending = threading.Event()
        self._listening = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self.port: int = self._listening.getsockname()[1]
        self.url = f"{'http' if context is None else 'https'}://{HOST}:{self.port}"

    def close(self) -> None:
        self._ending.set()
        for opened in (self._listening, *self._open):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listening.close()

    def _accept(self) -> None:
        while not self._ending.is_set():
            with suppress(OSError):
                accepted, _ = self._listening.accept()
                self.connections += 1
                self._open.append(accepted)
                thread = threading.Thread(target=self._serve, args=(accepted,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, accepted: socket.socket) -> None:
        made = accepted
        with suppress(OSError, ValueError):
            if self._context is not None:
                made = self._context.wrap_socket(accepted, server_side=True)
            with made.makefile("rb") as source:
                while line := source.readline().decode().strip():
                    headers = {}
                    while header := source.readline().decode("latin-1").strip():
                        name, _, value = header.partition(": ")
                        headers[name.lower()] = value
                    body = source.read(int(headers["content-length"]))
                    number = len(self.requests)
                    self.requests.append(Request(line, headers, body))
                    if not self._send(made, self.replies[min(number, len(self.replies) - 1)]):
                        break
        made.close()
        accepted.close()

    def _send(self, made: socket.socket, steps: Reply) -> bool:
        for step in steps:
            if isinstance(step, Close):
                return False
            if isinstance(step, Pause):
                if self._ending.wait(step.seconds):
                    return False
            else:
                made.sendall(step)
        return True


@contextmanager
def taking_no_connection() -> Iterator[str]:
    """Yield the URL of a port where a connection is never made: its queue is full, and nobody takes one out."""
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(2)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(listening.getsockname())
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()


class Certificate(NamedTuple):
    """The file that a client trusts, and what a server of that name shows."""

    trusted: Path
    context: ssl.SSLContext


def certificate(folder: Path, name: str) -> Certificate:
    """Make a self-signed certificate for `name`, a host name or an IP address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    try:
        host: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        host = x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / f"{name}.pem", folder / f"{name}.key"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return Certificate(trusted, context)
