"""Studies ready to be packed, and bundles that nobody should trust."""

import gzip
import hashlib
import io
import json
import tarfile

from ptychodose.bundle.bundle_names import SUMS, bundle_name
from tests.bundle.studies import make_study, write_manifest


def make_packable(root):
    """A study with its manifest and hand-over page."""
    root.mkdir()
    make_study(root)
    (root / "data/bundle").mkdir()
    (root / "data/bundle/README.md").write_text("# Hand-over\n")
    write_manifest(root)
    return root


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def forged(files, more=(), sizes=None, more_entries=()):
    """A tar that holds ``files`` (content by path in the study), then ``more``: pairs of TarInfo and content.

    ``sizes`` replaces what the manifest claims, ``more_entries`` adds to it.
    """
    entries = [
        {
            "path": path,
            "role": "other",
            "size_bytes": (sizes or {}).get(path, len(content)),
            "sha256": sha256(content),
        }
        for path, content in files.items()
    ]
    manifest = {"schema": "ptychodose/manifest/1", "emitter": "x", "scenario_id": "MINE", "doses": ["1e3"]}
    manifest = json.dumps(manifest | {"files": [*entries, *more_entries]}).encode()
    members = {"docs/manifest.json": manifest}
    members |= {bundle_name(path): content for path, content in files.items()}
    sums = "".join(f"{sha256(content)}  {name}\n" for name, content in members.items()).encode()
    ordered = [("docs/manifest.json", manifest), (SUMS, sums), *list(members.items())[1:]]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, content in [*((tarfile.TarInfo(name), data) for name, data in ordered), *more]:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        end = archive.offset
    return stream.getvalue()[:end] + bytes(1024)


def zipped(path, tar):
    path.write_bytes(gzip.compress(tar, mtime=0))
    return path
