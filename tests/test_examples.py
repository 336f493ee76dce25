"""Every example proves with --check what it teaches, alone, with warnings as errors."""
import ast
import glob
import os
import subprocess
import sys

import pytest

from tests.support import ROOT, needs

NEEDS = {"pipeline.py": ["threading"], "https_server.py": ["ssl"], "proxy.py": ["ssl"]}  # what icey has to have for it
EXAMPLES = sorted(glob.glob(os.path.join(ROOT, "examples", "*.py")))


@pytest.mark.parametrize("path", EXAMPLES, ids=[os.path.basename(path) for path in EXAMPLES])
def test_example_proves_itself(path, tmp_path):
    needs(*NEEDS.get(os.path.basename(path), ()))
    with open(path, encoding="utf-8") as file:
        assert ast.get_docstring(ast.parse(file.read())), "an example says at its head what it teaches"
    done = subprocess.run([sys.executable, "-W", "error", path, "--check"], cwd=str(tmp_path), timeout=120,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout
