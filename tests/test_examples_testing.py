"""examples/testing: its tests pass, in a process of their own, and its page shows them as they are."""
import configparser
import os
import re
import subprocess
import sys

from tests.support import ROOT, needs

FOLDER = os.path.join(ROOT, "examples", "testing")
LONGEST = 14  # lines of a test on the page


def text_of(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


PAGE = text_of("README.md")
FILES = sorted(name for name in os.listdir(FOLDER) if name.endswith(".py"))


def blocks(language):
    return re.findall(r"^```%s\n(.*?)^```$" % language, PAGE, re.S | re.M)


def test_they_pass(tmp_path):
    needs("subprocess")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    done = subprocess.run([sys.executable, "-W", "error", "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"), FOLDER],
                          cwd=str(tmp_path), timeout=120, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= 30, done.stdout


def test_each_block_of_the_page_is_in_a_file_beside_it():
    sources = [text_of(name) for name in FILES]
    shown = blocks("python")
    assert len(shown) > 15
    assert [block for block in shown if not any("\n" + block in source for source in sources)] == []
    assert [block for block in shown if block.count("\n") > LONGEST] == []


def test_the_page_shows_the_matrix_as_it_is_and_names_each_file():
    assert blocks("ini") == [text_of("tox.ini")]
    matrix = configparser.ConfigParser()
    matrix.read_string(blocks("ini")[0])
    assert matrix["testenv"]["commands"] == "python -W error -m pytest {posargs}"
    assert sorted(set(re.findall(r"\]\(([\w.]+)\)", PAGE))) == [*FILES, "tox.ini"]
    assert blocks("sh") == ["python3 -m pytest examples/testing\n"]
