"""Write requirements-ci.txt: the versions of constraints.txt with the hash of each file.

`make lock`, on the system that the file is for.  pip chooses the files and tells their hashes.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SYSTEM = "Python 3.11 on Linux, x86-64"
HEAD = f"""\
# What continuous integration installs on {SYSTEM}.  Written by `make lock`.
# pip install --require-hashes -r requirements-ci.txt && \\
#     pip install --no-deps --no-build-isolation -e .
"""


def main() -> None:
    """Ask pip, and write the file."""
    here = sys.version_info[:2], sys.platform, platform.machine()
    if here != ((3, 11), "linux", "x86_64"):
        sys.exit(f"requirements-ci.txt is for {SYSTEM}; this is {here}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    more = ["--report", "-", "--constraint", "constraints.txt", ".[dev]"]
    done = subprocess.run([*pip, *more], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    lines = []
    for each in json.loads(done.stdout)["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        if "archive_info" in each["download_info"]:  # all but the project itself
            sha256 = each["download_info"]["archive_info"]["hashes"]["sha256"]
            name = name.lower().replace("_", "-").replace(".", "-")
            lines.append(f"{name}=={version} --hash=sha256:{sha256}\n")
    (ROOT / "requirements-ci.txt").write_text(HEAD + "".join(sorted(lines)), "utf-8")


main()
