"""The command as a person types it."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
from typed import message, run  # noqa: E402


def test_a_card_is_printed_or_written_and_replaces_nothing(untrained, tmp_path):
    printed = run("card", untrained["entities"])
    assert printed.returncode == 0 and printed.stdout.startswith("---\n"), printed.stderr
    assert run("card", untrained["entities"], f"--out={tmp_path}").returncode == 0
    assert (tmp_path / "README.md").read_text() == printed.stdout
    assert message(run("card", untrained["entities"], f"--out={tmp_path}")) == f"{tmp_path / 'README.md'} exists already"
    file = tmp_path / "README.md"
    assert message(run("card", untrained["entities"], f"--out={file}")).endswith("is not a folder, but a file that is there already")
