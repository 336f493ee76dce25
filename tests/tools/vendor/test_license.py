"""The licence that goes with each copy is the repository's."""
import os

from tests.support import ROOT, package


def test_the_packages_license_is_the_repositorys():
    with open(os.path.join(ROOT, "LICENSE"), "rb") as one, open(os.path.join(package.PACKAGE, "LICENSE"), "rb") as two:
        assert one.read() == two.read()
