"""The launch scripts: what can be checked without SLURM and without Kubernetes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SLURM = EXAMPLES / "slurm.sh"

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")


def command(path: Path, name: str, body: str) -> None:
    file = path / name
    file.write_text(f"#!/bin/bash\n{body}\n")
    file.chmod(0o755)


@pytest.fixture
def slurm(tmp_path):
    """Starts slurm.sh with SLURM's commands replaced; ``train`` is what srun does."""

    def start(train: str) -> subprocess.Popen:
        command(tmp_path, "srun", f'echo "srun $*" >> {tmp_path}/log\n{train}')
        command(tmp_path, "scontrol", f'echo "scontrol $*" >> {tmp_path}/log\nprintf "node-a\\nnode-b\\n"')
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "node-[a-b]",
            "SLURM_NNODES": "2",
        }
        return subprocess.Popen(
            ["bash", SLURM, "data", "out", "--model", "ResNet18"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    start.log = tmp_path / "log"
    return start


def test_slurm_starts_torchrun_on_every_node(slurm):
    assert slurm("exit 0").wait(20) == 0
    lines = slurm.log.read_text().splitlines()
    assert lines[0] == "scontrol show hostnames node-[a-b]"
    assert lines[1] == (
        "srun --kill-on-bad-exit=1 torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d "
        "--rdzv-endpoint node-a:29500 --rdzv-id 77-0 "
        "-m fastaug.train data --output out --resume auto --model ResNet18"
    )
    assert len(lines) == 2


def test_slurm_reports_a_failure_and_does_not_repeat_it(slurm):
    assert slurm("exit 2").wait(20) == 2
    assert "requeue" not in slurm.log.read_text()


def test_slurm_saves_and_queues_again_when_time_is_up(slurm):
    save = f"sleep 0.3; echo saved >> {slurm.log}; exit 143"
    job = slurm(f'trap "{save}" TERM; for i in {{1..100}}; do sleep 0.1; done')
    end = time.monotonic() + 10
    while time.monotonic() < end and not (slurm.log.exists() and "srun" in slurm.log.read_text()):
        time.sleep(0.05)
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    out, _ = job.communicate(timeout=20)
    assert "queues again and will go on from out" in out
    assert slurm.log.read_text().splitlines()[-2:] == ["saved", "scontrol requeue 77"]


def test_slurm_ends_when_training_ends_just_then(slurm):
    job = slurm('trap "exit 0" TERM; for i in {1..100}; do sleep 0.1; done')
    time.sleep(1)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=20)
    assert job.returncode == 0
    assert "requeue" not in slurm.log.read_text()


def test_bash_reads_the_script():
    subprocess.run(["bash", "-n", SLURM], check=True)
    text = SLURM.read_text()
    assert "#SBATCH --requeue" in text
    assert "TERM@120" in text


def kubernetes():
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))


def test_kubernetes_parts_fit_together():
    service, job = kubernetes()
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    name, command = job["metadata"]["name"], pod["containers"][0]["command"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    port = service["spec"]["ports"][0]["port"]
    assert f"--rdzv-endpoint={name}-0.{pod['subdomain']}:{port}" in command
    assert spec["completions"] == spec["parallelism"]
    assert f"--nnodes={spec['completions']}" in command
    assert f"--nproc-per-node={pod['containers'][0]['resources']['limits']['nvidia.com/gpu']}" in command
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] > 30
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in pod["containers"][0]["volumeMounts"]}


def test_the_trainer_and_torchrun_know_the_flags(tmp_path):
    config = pytest.importorskip("fastaug.train.config")
    from torch.distributed.run import get_args_parser

    container = kubernetes()[1]["spec"]["template"]["spec"]["containers"][0]
    launch = get_args_parser().parse_args(container["command"][1:])
    assert (launch.module, launch.training_script) == (True, "fastaug.train")
    asked = config.parse([a.replace("/output", str(tmp_path)) for a in container["args"]])
    assert (asked.data, asked.resume, asked.model) == (["/data"], "auto", "ResNet50")
