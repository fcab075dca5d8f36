"""Does a DVC remote answer, and may it be read and written? Asked in seconds, before a transfer.

DVC itself retries a server that is down for up to half a minute before it says so.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from ptychodose.bundle.remote_config import Remote, read_remote


def run_remote_check(name: str | None, root: Path = Path()) -> int:
    """Say whether the named remote, or the default one, may be read and written: 0 for both, 1 for read only.

    Raises
    ------
    UserError
        It cannot be read: no such remote, no server, a wrong key, no bucket or no folder.
    """
    remote = read_remote(root, name)
    obstacle = _write_obstacle(remote, root)
    if obstacle is None:
        print(f"{remote.name}: {remote.url} can be read and written")
    else:
        print(
            f"{remote.name}: {remote.url} can be read, not written ({obstacle}); "
            "`dvc pull` works, `dvc push` does not"
        )
    if not remote.verifies:
        print(
            f"{remote.name}: DVC accepts damaged objects from it in silence; "
            f"`dvc remote modify {remote.name} verify true` ends that"
        )
    return 0 if obstacle is None else 1


def _write_obstacle(remote: Remote, root: Path) -> str | None:
    """Why a remote that can be read cannot be written; None if it can."""
    scheme = urlsplit(remote.url).scheme
    if scheme == "s3":
        # botocore, which comes with dvc-s3, takes half a second to import.
        from ptychodose.bundle.s3_remote import write_obstacle

        return write_obstacle(remote)
    if scheme in ("", "file"):
        return _folder_obstacle(remote, root)
    raise remote.refuse(f"only folders and S3 are checked, not {scheme}; `dvc push -r {remote.name}` tells")


def _folder_obstacle(remote: Remote, root: Path) -> str | None:
    # DVC reads a relative path from the folder of its configuration.
    folder = root / ".dvc" / remote.url.removeprefix("file://")
    if not folder.is_dir():
        raise remote.refuse("no such folder; is the disk mounted? `dvc push` makes a folder that is new")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise remote.refuse("the folder may not be read; ask its owner for read access")
    return None if os.access(folder, os.W_OK) else "permissions of the folder"
