"""Makes every start of this virtual environment's Python measure coverage while COVERAGE_PROCESS_START is set.

That covers subprocesses, whatever way they start, on every version of coverage that 3.8 to 3.13 and PyPy get.
Run once before the tests, with the environment's Python: writes one .pth file into its site-packages, and deletes what
an earlier run under the same COVERAGE_FILE has left.
"""
import glob
import os
import sys
import sysconfig

LINE = "import os; 'COVERAGE_PROCESS_START' in os.environ and __import__('coverage').process_startup()\n"


def main():
    if sys.prefix == sys.base_prefix:
        sys.exit("this Python is not in a virtual environment: nothing written")
    path = os.path.join(sysconfig.get_path("purelib"), "icey_coverage.pth")
    with open(path, "w", encoding="ascii") as file:
        file.write(LINE)
    data = os.environ.get("COVERAGE_FILE")
    if data:
        os.makedirs(os.path.dirname(data), exist_ok=True)
        for stale in glob.glob(glob.escape(data) + ".*"):
            os.remove(stale)


if __name__ == "__main__":
    main()
