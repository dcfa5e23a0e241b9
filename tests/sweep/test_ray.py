"""The same recipe as tasks of Ray with two workers, one killed on the way: the same records.

In a process of its own: Ray's threads and sockets outlive what a test may leave behind.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from tiny import RECIPE, essence, run

from modelstitch.errors import SettingError
from modelstitch.records import Store
from modelstitch.sweep.on_ray import OnRay

DRIVER = """
import sys
import ray
from modelstitch.records import Store
from modelstitch.sweep import run_recipe
from modelstitch.sweep.on_ray import OnRay
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
run_recipe(open(sys.argv[1]).read(), Store(sys.argv[2]), networks=sys.argv[3], executor=OnRay("local"))
"""


def workers():
    """Processes of Ray that are doing a task of ours, by the name that Ray gives them."""
    found = subprocess.run(["pgrep", "-f", r"^ray::_task"], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in found.split()]


def kill_one(killed):
    """Kill the first worker that is seen at work on a pair of networks, some seconds into it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not killed:
        for process in workers():
            time.sleep(1.0)
            os.kill(process, signal.SIGKILL)
            killed.append(process)
            break
        time.sleep(0.05)


def test_ray_gives_what_one_process_gives_though_a_worker_is_killed(tmp_path):
    plain = run(tmp_path / "plain")
    recipe, path = tmp_path / "r.yaml", tmp_path / "run.sqlite"
    recipe.write_text(RECIPE)
    killed = []
    killer = threading.Thread(target=kill_one, args=(killed,))
    killer.start()
    command = [sys.executable, "-c", DRIVER, str(recipe), str(path), str(tmp_path / "nets")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    killer.join()
    assert done.returncode == 0, done.stderr
    assert len(killed) == 1
    store = Store(path)
    assert store.failures() == {}
    assert essence(store.records()) == essence(plain)


def test_ray_that_cannot_be_had_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingError, match=r"no package ray\n.*pip install 'modelstitch\[ray\]'"):
        run(tmp_path, executor=OnRay("local"))
