"""A small DVC repository made by hand, and tools of this environment run in it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

PROGRAMS = str(Path(sys.executable).parent)


def tool_environment(cwd, **more):
    """No settings of the machine, and none of DVC's memory of what a remote of the same address holds.

    A server that is down is tried once, not for half a minute.
    """
    hidden = ("AWS_", "DVC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return (
        kept
        | {
            "PATH": os.pathsep.join([PROGRAMS, os.environ["PATH"]]),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(cwd / ".dvc" / "tmp" / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "T",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "T",
            "GIT_COMMITTER_EMAIL": "t@example.org",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        | more
    )


def call(*command, cwd, check=True, **environment):
    """Run a tool to its end."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=tool_environment(cwd, **environment),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    if check and done.returncode:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def said(done):
    return done.stdout + done.stderr


def new_repository(root, pipeline="stages: {}\n"):
    """Git, DVC and a pipeline."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text(pipeline)
    call("git", "init", "--quiet", cwd=root)
    call("dvc", "init", "--quiet", cwd=root)
    return root


def commit(root):
    call("git", "add", "--all", cwd=root)
    call("git", "commit", "--quiet", "--message", "Study", cwd=root)


def object_path(path):
    """Where a file lies in a cache or remote, below its root."""
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    return Path("files", "md5", md5[:2], md5[2:])


def flip(path):
    """Change one byte, leave size, mode and modification time."""
    before = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
