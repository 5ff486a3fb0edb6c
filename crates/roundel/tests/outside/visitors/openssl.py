"""Python's ssl, which is OpenSSL: both versions, resumption, certificates of clients, wrong names.

Arguments: a folder with ca.pem and NAME.pem, the port in front, the port that asks for certificates.
Prints what came of each visit.
"""
import os
import socket
import ssl
import sys

folder, front, mutual = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
NAME = "www.example.org"
REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n"


def context(version, certificate=None):
    made = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
    made.minimum_version = made.maximum_version = version
    if certificate:
        made.load_cert_chain(os.path.join(folder, certificate + ".pem"))
    return made


def visit(made, port, name=NAME, session=None):
    """The last word of the answer, whether the session went on, and the session for the next."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with made.wrap_socket(plain, server_hostname=name, session=session) as tls:
                tls.sendall(REQUEST)
                answer = b""
                while part := tls.recv(4096):
                    answer += part
                # Raises where the end was cut: a goodbye was said.
                return answer.split()[-1].decode(), tls.session_reused, tls.session
        except ssl.SSLError as error:
            return error.reason, None, None


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    made = context(version)
    first = visit(made, front)
    second = visit(made, front, session=first[2])
    print(version.name, *first[:2], *second[:2])
    print(version.name, "another name:", visit(made, front, name="other.example.org")[0])
    for certificate in (None, "client", "stranger"):
        print(version.name, certificate, visit(context(version, certificate), mutual)[0])
