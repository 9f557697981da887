"""Hosts made of network namespaces on one machine, and the desk from which `ray up` is called.

A host has its own address, processes, sshd, /root, /run, /dev/shm and /tmp/ray; all other files are this machine's, so
that a folder of results is shared and the installed packages are there. Nothing outside the namespaces is changed.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from tests.waiting import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("ip", "unshare", "sshd", "ssh-keygen", "rsync", "tmux", "make")
_KERNELS = " ".join(f"{name}={value}" for name, value in os.environ.items() if name.startswith("OPENBLAS_"))
"""Of the library behind NumPy's sums, where somebody chose them: hosts of one kind have the same, to the last bit."""
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

# Process 1 is bash, and stays it: it reaps the children that `ray stop` waits for, which sshd does not.
_FIRST_PROCESS = """
set -e
hostname {name}
mount --make-rprivate /
for folder in {kept}; do mkdir -p "{home}/$folder"; mount --bind "/root/$folder" "{home}/$folder"; done
mount --rbind {home} /root
for folder in /dev/shm /tmp/ray /run; do mount -t tmpfs tmpfs $folder; done
mkdir /run/sshd
/usr/sbin/sshd -D -e -f {home}/.sshd_config &
wait
"""
_SSHD = """
ListenAddress {address}
HostKey {key}
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PidFile none
SetEnv TMUX_TMPDIR=/run {kernels}
"""
_DESK = """
mount --make-rprivate /
mount --bind {desk}/ray /tmp/ray
cd {root}
exec "$@"
"""


def missing() -> str | None:
    """Why hosts cannot be made here; None where they can."""
    absent = [name for name in NEEDED if not shutil.which(name, path=_PATH)]
    if absent:
        return f"needs {', '.join(absent)}"
    return None if os.geteuid() == 0 else "needs root"


class Lan:
    """Hosts `head`, `w1` and `w2` at 10.99.0.1 to 3, on a bridge in a network namespace of their own."""

    addresses: ClassVar = {"head": "10.99.0.1", "w1": "10.99.0.2", "w2": "10.99.0.3"}

    def __init__(self, folder: Path, cache: Path) -> None:
        self._folder, self._cache = folder, cache
        self._bridge = f"rd{os.getpid()}"
        self._first: dict[str, subprocess.Popen[bytes]] = {}
        self.key = folder / "key"
        self.desk = folder / "desk"

    @contextlib.contextmanager
    def running(self) -> Iterator["Lan"]:
        """All hosts, until the end of the block."""
        for part in ("ray", "home/.ray"):
            (self.desk / part).mkdir(parents=True)
        (self.desk / "home/.ray/auth_token").write_text("0" * 63 + "1")
        Path("/tmp/ray").mkdir(exist_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        try:
            self._make_bridge()
            for name in self.addresses:
                self._make_home(name)
                self._make_cable(name)
                self.start(name)
            yield self
        finally:
            for name in list(self._first):
                self.kill(name)
            for name in (*(f"{self._bridge}-{host}" for host in self.addresses), self._bridge):
                subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def start(self, name: str) -> None:
        """Switch a host on, and wait until it answers."""
        home, script = self._home(name), self._folder / f"{name}.sh"
        kept = {Path(sys.base_prefix), Path(sys.prefix), ROOT, self._folder, self._cache}
        inside = sorted({str(path.relative_to("/root")) for path in kept if path.is_relative_to("/root")})
        script.write_text(_FIRST_PROCESS.format(name=name, home=home, kept=" ".join(inside)))
        with (self._folder / f"{name}.log").open("ab") as log:
            self._first[name] = subprocess.Popen(
                [*_inside(f"{self._bridge}-{name}"), "--uts", "--ipc", "bash", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self.ssh(name, "true").returncode == 0, f"{name} answers", pause=0.5)

    def kill(self, name: str) -> None:
        """Switch a host off: all its processes end by SIGKILL."""
        first = self._first.pop(name)
        first.send_signal(signal.SIGKILL)
        first.wait()

    def ssh(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a host."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=2"]
        login = ["ssh", "-i", str(self.key), *(f"-o{option}" for option in options), f"root@{self.addresses[name]}"]
        return subprocess.run(
            ["ip", "netns", "exec", self._bridge, *login, command],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def runs(self, name: str, pattern: str) -> bool:
        """Whether a host has a process whose command line matches `pattern`."""
        return self.ssh(name, f"pgrep -f '{pattern}'").returncode == 0

    def at_desk(self, command: Sequence[str]) -> str:
        """Run a command as a user does at a desk beside the hosts, at the root of the repository; what it prints."""
        script = _DESK.format(desk=self.desk, root=ROOT)
        done = subprocess.run(
            [*_inside(self._bridge), "bash", "-c", script, "desk", *command],
            env={"PATH": f"{sys.prefix}/bin:{_PATH}", "HOME": str(self.desk / "home"), "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}"
        return done.stdout

    def _home(self, name: str) -> Path:
        return self._folder / name

    def _make_bridge(self) -> None:
        _ip("netns", "add", self._bridge)
        _ip("-n", self._bridge, "link", "add", "br0", "type", "bridge")
        _ip("-n", self._bridge, "addr", "add", "10.99.0.254/24", "dev", "br0")
        for device in ("lo", "br0"):
            _ip("-n", self._bridge, "link", "set", device, "up")

    def _make_cable(self, name: str) -> None:
        """A network namespace for the host, and a cable from there to the bridge."""
        space = f"{self._bridge}-{name}"
        _ip("netns", "add", space)
        _ip("-n", self._bridge, *f"link add to-{name} type veth peer name eth0 netns {space}".split())
        _ip("-n", self._bridge, *f"link set to-{name} master br0 up".split())
        for words in (
            "link set lo up",
            f"addr add {self.addresses[name]}/24 dev eth0",
            "link set eth0 up",
            "route add default via 10.99.0.254",  # along which Ray finds its own address
        ):
            _ip("-n", space, *words.split())

    def _make_home(self, name: str) -> None:
        """What a machine has on which `ray up` was run before with the same versions: its environment is in place."""
        home = self._home(name)
        environment = home / "rdstudy/.venv"
        _run(sys.executable, "-m", "venv", "--without-pip", str(environment))
        packages = next(environment.glob("lib/python3*/site-packages"))
        (packages / "installed.pth").write_text(f"{sysconfig.get_path('purelib')}\n/root/rdstudy\n")
        ray = environment / "bin/ray"
        ray.write_text("#!/root/rdstudy/.venv/bin/python\nfrom ray.scripts.scripts import main\nmain()\n")
        ray.chmod(0o755)
        shutil.copy(ROOT / "constraints.txt", environment)
        (home / ".cache").mkdir()
        (home / ".cache/rdstudy").symlink_to(self._cache)
        (home / ".sshd_config").write_text(_SSHD.format(address=self.addresses[name], key=self.key, kernels=_KERNELS))


def _inside(space: str) -> list[str]:
    """The start of a command with a network namespace, processes and mounts of its own, which all end with it."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"]
    return ["ip", "netns", "exec", space, *unshare]


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": _PATH})
