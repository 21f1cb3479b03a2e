"""What is built holds what the pages read."""

import subprocess
import sys

from tests.architecture.repository import ROOT, tracked_files


def test_the_manual_is_in_what_is_built(tmp_path):
    program = "import setuptools; setuptools.setup()"
    command = [sys.executable, "-W", "ignore", "-c", program, "--quiet", "build_py", "--build-lib", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    inside = tmp_path / "agentcache" / "site" / "manual"
    wanted = ["CHANGELOG.md", "SECURITY.md", "examples/streaming.py"]
    wanted += [path.relative_to(ROOT).as_posix() for path in tracked_files() if path.match("docs/**/*.md")]
    assert len(wanted) > 10
    for name in wanted:
        assert (inside / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert (tmp_path / "agentcache/site/templates/site/sitemap.xml").is_file()
    assert not (tmp_path / "scripts").exists()
