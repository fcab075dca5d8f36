"""The remotes of this repository, as DVC's two files describe them, read without DVC."""

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path

from ptychodose.errors import UserError


@dataclass(frozen=True)
class Remote:
    """A remote of .dvc/config and .dvc/config.local, the latter winning."""

    name: str
    url: str
    options: Mapping[str, str]

    @property
    def verifies(self) -> bool:
        """DVC compares what it pulls with its hash."""
        return self.options.get("verify", "").lower() in ("true", "yes", "on", "1")

    def refuse(self, rule: str) -> UserError:
        """The one sentence for a fault of this remote."""
        return UserError(f"remote {self.name} ({self.url}): {rule}")


def read_remote(root: Path, name: str | None) -> Remote:
    """A remote as DVC's two files in the repository describe it."""
    sections = _sections(root)
    name = name or sections.get("core", {}).get("remote")
    known = [words[1] for section in sections if len(words := section.split('"')) == 3]
    if not name:
        raise UserError(".dvc/config: no default remote; `dvc remote default NAME` sets one")
    if name not in known:
        raise UserError(
            f".dvc/config: no remote {name!r}, there is {', '.join(known) or 'none'}; see `dvc remote add`"
        )
    options = sections[f'remote "{name}"']
    if "url" not in options:
        raise UserError(
            f".dvc/config: remote {name!r} has no url; `dvc remote modify {name} url URL` sets it"
        )
    return Remote(name, options["url"], options)


def _sections(root: Path) -> dict[str, dict[str, str]]:
    """What both files hold, section by section: DVC quotes a section that names a remote."""
    found: dict[str, dict[str, str]] = {}
    for path in (root / ".dvc" / "config", root / ".dvc" / "config.local"):
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (ConfigError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: not a configuration DVC wrote ({reason})") from None
        for section in parser.sections():
            values = {key: value.strip("\"'") for key, value in parser[section].items()}
            found.setdefault(section.strip("'"), {}).update(values)
    if not found and not (root / ".dvc").is_dir():
        raise UserError(".dvc/config: not found; run from the top of the repository")
    return found
