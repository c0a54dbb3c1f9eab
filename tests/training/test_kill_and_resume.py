"""A short run of the script that kills trainings and fills their disks."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "kill_and_resume.py"


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the scripts are not part of this installation")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the script needs Linux")
def test_killed_trainings_and_full_disks(tmp_path):
    shared = Path("/dev/shm")
    if not shared.is_dir() or os.stat(shared).st_dev == os.stat(tempfile.gettempdir()).st_dev:
        pytest.skip("there is only one file system to write to")
    results = tmp_path / "results.json"
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--kills", "6", "--fills", "2", "--json", str(results)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(results.read_text())
    assert found["kill"]["kills"] == sum(found["kill"]["hit"].values()) == 6
    assert found["full_disk"]["fills"] == sum(found["full_disk"]["stopped_by"].values()) == 2
    assert found["kill"]["findings"] == found["full_disk"]["findings"] == []
