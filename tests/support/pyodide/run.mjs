// Runs pytest inside Pyodide: node run.mjs PYODIDE CHECKOUT SITE -- [pytest argument...]
//
// PYODIDE: the folder of npm's package. CHECKOUT: the repository. SITE: a site-packages folder with pytest in it. Both are
// mounted and nothing is written there. The exit status is pytest's.
import { pathToFileURL } from "node:url";

const [pyodide, checkout, site, , ...args] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`));
const env = { HOME: "/home/pyodide", PYTHONDONTWRITEBYTECODE: "1" };
for (const [name, value] of Object.entries(process.env))
  if (name === "CI" || name.startsWith("ICEY_")) env[name] = value;
const py = await loadPyodide({ env });
for (const [at, root] of [["/checkout", checkout], ["/site", site]]) {
  py.FS.mkdirTree(at);
  py.FS.mount(py.FS.filesystems.NODEFS, { root }, at);
}
py.globals.set("arguments", args);
process.exitCode = py.runPython(`
import os, sys

os.chdir("/checkout")
sys.path[:0] = ["/checkout", "/checkout/tests/support/pyodide", "/site"]
import pytest

# A test that is skipped in its midst leaves open what it has made.
int(pytest.main(["-p", "missing", "-W", "ignore::ResourceWarning", *arguments]))
`);
