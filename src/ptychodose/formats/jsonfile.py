"""JSON: no NaN in any file, keys in the order given, readable errors."""

import json
from pathlib import Path
from typing import Any

from ptychodose.errors import UserError
from ptychodose.formats.atomic import atomic_file


def dump_json(tree: Any) -> str:
    """Indented JSON text; a NaN or infinity raises ValueError (JSON has neither)."""
    return json.dumps(tree, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def rounded(tree: Any, significant_digits: int = 10) -> Any:
    """The tree with every float rounded, so that a last bit does not change a file's hash."""
    if isinstance(tree, float):
        return float(f"{tree:.{significant_digits - 1}e}")
    if isinstance(tree, dict):
        return {key: rounded(value, significant_digits) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [rounded(value, significant_digits) for value in tree]
    return tree


def write_json(path: Path, tree: Any) -> None:
    """Write :func:`dump_json` of the :func:`rounded` tree atomically."""
    text = dump_json(rounded(tree))
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file, or raise a UserError that says what is wrong with it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
