"""The certificates of the tests, made at run time: nothing secret is committed, and no program and no package is needed.

    certs = certificates.folder(path)       # writes them all, as PEM files
    certs.ca                                # what a client trusts
    certs.cert("localhost")                 # (certificate file with its chain, key file)

    python3 -m tests.support.certificates FOLDER     # the same by hand; says what there is

How one is made: icey/tools/certificate.py.
"""
import functools
import os
import sys

from icey.tools.cli.certificate import CLIENT_AUTH, Certificate

HERE = ("localhost", "127.0.0.1", "::1")


class Folder:
    """The certificates of the tests, written to the folder `path`. Made by `folder()`."""

    def __init__(self, path):
        self.path = os.fspath(path)
        self.ca, self.client_ca, self.other_ca = (self._file(name + ".pem") for name in ("ca", "client ca", "other ca"))
        self.names = []

    def cert(self, name):
        """(certificate file with its chain, key file) of the certificate of that name: see `folder`."""
        if name not in self.names:
            raise KeyError("no certificate %r; there are %s" % (name, ", ".join(self.names)))
        return self._file(name + ".pem"), self._file(name + ".key")

    def _file(self, name):
        return os.path.join(self.path, name.replace("*", "any").replace(" ", "_"))

    def _write(self, path, text):
        with open(path, "w", encoding="ascii", opener=functools.partial(os.open, mode=0o600)) as file:
            file.write(text)

    def _add(self, name, *chain):
        """Writes `chain`, the leaf first, and the leaf's key."""
        self.names.append(name)
        cert, key = self.cert(name)
        self._write(cert, "".join(link.pem() for link in chain))
        self._write(key, chain[0].key.pem())


def folder(path):
    """Makes all certificates in the folder `path`, which comes into being: a Folder.

    For localhost, 127.0.0.1 and ::1, signed by `ca` and valid but for what their names say: localhost, expired,
    not yet valid, self-signed, unknown ca, chain (by an intermediate), broken chain (the intermediate is left out).
    For other hosts: a.test, b.test, *.c.test. For clients, signed by `client_ca`: client.
    """
    os.makedirs(path, exist_ok=True)
    made = Folder(path)
    ca, client_ca, other_ca = (Certificate("icey test " + name, ca=True) for name in ("CA", "client CA", "other CA"))
    for authority, file in ((ca, made.ca), (client_ca, made.client_ca), (other_ca, made.other_ca)):
        made._write(file, authority.pem())
    intermediate = Certificate("icey test intermediate", ca=True, issuer=ca)
    below = Certificate("localhost", HERE, issuer=intermediate)

    made._add("localhost", Certificate("localhost", HERE, issuer=ca))
    for host in ("a.test", "b.test", "*.c.test"):
        made._add(host, Certificate(host, [host], issuer=ca))
    made._add("expired", Certificate("localhost", HERE, issuer=ca, days=(-30, -1)))
    made._add("not yet valid", Certificate("localhost", HERE, issuer=ca, days=(30, 60)))
    made._add("self-signed", Certificate("localhost", HERE))
    made._add("unknown ca", Certificate("localhost", HERE, issuer=other_ca))
    made._add("chain", below, intermediate)
    made._add("broken chain", below)
    made._add("client", Certificate("a client", issuer=client_ca, usage=CLIENT_AUTH))
    return made


def main(arguments):
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit("usage: certificates.py FOLDER")
    made = folder(arguments[0])
    for name in ("ca", "client_ca", "other_ca"):
        print("%s: %s" % (name, getattr(made, name)))
    for name in made.names:
        print("%s: %s %s" % ((name,) + made.cert(name)))


if __name__ == "__main__":
    main(sys.argv[1:])
