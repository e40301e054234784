"""Stand-ins for the tools of DNAnexus and for Docker: a project is a folder, a job a process of this machine.

Called by the name of the tool that it stands for, as links in a folder of the PATH. The environment variable
``MOCK_DX_PROJECT`` names the folder.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(os.environ.get("MOCK_DX_PROJECT", "nowhere"))
_VALUED = ("--path", "--destination", "--priority", "--name", "--input", "--user", "--env", "--network", "--volume")


def _there(path: str) -> Path:
    """A path of the project; files of an archive lie where they are."""
    inside = PROJECT / path.lstrip("/")
    return inside if inside.exists() or not Path(path).is_file() else Path(path)


def _options(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Options with their values, and the other words."""
    options: dict[str, list[str]] = {}
    others: list[str] = []
    left = iter(words)
    for word in left:
        if word in _VALUED:
            options.setdefault(word, []).append(next(left))
        elif word.startswith("-"):
            options.setdefault(word, [])
        else:
            others.append(word)
    return options, others


def dx(words: list[str]) -> int:
    """``dx ls``, ``mkdir``, ``upload``, ``build`` and ``run``."""
    command, (options, others) = words[0], _options(words[1:])
    if command == "ls":
        return 0 if _there(others[0]).exists() else 1
    if command == "mkdir":
        (PROJECT / others[0].lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif command == "upload":
        source = Path(others[0])
        default = f"{os.environ.get('MOCK_DX_FOLDER', '')}/{source.name}"
        target = options.get("--path", [default])[0]
        shutil.copyfile(source, PROJECT / target.lstrip("/"))
        print(target)
    elif command == "build":
        json.loads((Path(others[0]) / "dxapp.json").read_text())
        shutil.copytree(others[0], PROJECT / options["--destination"][0].lstrip("/"), dirs_exist_ok=True)
    elif command == "run":
        return _job(others[0], options["--destination"][0], words)
    else:
        return 2
    return 0


def _job(applet: str, folder: str, words: list[str]) -> int:
    """Run the applet as its ``dxapp.json`` says, in a home of its own."""
    app = json.loads((_there(applet) / "dxapp.json").read_text())
    assert app["access"] == {"network": []}
    kinds = {one["name"]: one["class"] for one in app["inputSpec"]}
    inputs: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("-i"):
            name, _, value = word[2:].partition("=")
            inputs.setdefault(name, []).append(value)
    assert inputs.keys() <= kinds.keys()
    with tempfile.TemporaryDirectory() as home:
        prelude = []
        for name, values in inputs.items():
            paths = [f"{home}/in/{name}/{k}/{Path(value).name}" for k, value in enumerate(values)]
            if kinds[name] == "array:file":
                prelude.append(f"{name}_path=({shlex.join(paths)})")
            elif kinds[name] == "file":
                prelude.append(f"{name}_path={shlex.quote(paths[0])}")
            else:
                prelude.append(f"{name}={shlex.quote(values[0])}")
        files = {name: values for name, values in inputs.items() if "file" in kinds[name]}
        Path(home, "job_input.json").write_text(json.dumps(files))
        script = "\n".join([*prelude, f"source {shlex.quote(str(_there(applet) / app['runSpec']['file']))}", "main"])
        environment = {**os.environ, "HOME": home, "MOCK_DX_FOLDER": folder}
        return subprocess.run(["bash", "-c", script], cwd=home, env=environment, check=False).returncode


def download_all_inputs(_words: list[str]) -> int:
    """``dx-download-all-inputs``: ``~/in/NAME/K/FILE``."""
    home = Path.home()
    for name, values in json.loads((home / "job_input.json").read_text()).items():
        for k, value in enumerate(values):
            target = home / "in" / name / str(k) / Path(value).name
            target.parent.mkdir(parents=True)
            shutil.copyfile(_there(value), target)
    return 0


def docker(words: list[str]) -> int:
    """``docker load`` and ``docker run``: the command of the image, its paths translated to those of the host."""
    if words[0] == "load":
        assert Path(_options(words[1:])[0]["--input"][0]).is_file()
        print("Loaded image: cmr-cohort:test")
        return 0
    options, others = _options(words[1 : words.index("cmr-cohort:test")])
    assert not others
    assert options["--network"] == ["none"]
    mounts = {inside: host for host, inside, *_ in (volume.split(":") for volume in options["--volume"])}
    command = [_outside(word, mounts) for word in words[words.index("cmr-cohort:test") + 1 :]]
    listed = Path(command[command.index("--files") + 1])
    listed.write_text("".join(f"{_outside(line, mounts)}\n" for line in listed.read_text().splitlines()))
    return subprocess.run([os.environ["MOCK_DX_COMMAND"], *command], check=False).returncode


def _outside(word: str, mounts: dict[str, str]) -> str:
    inside = next((inside for inside in mounts if word == inside or word.startswith(f"{inside}/")), None)
    return word if inside is None else mounts[inside] + word.removeprefix(inside)


def _nothing(_words: list[str]) -> int:
    return 0


TOOLS = {
    "dx": dx,
    "docker": docker,
    "dx-download-all-inputs": download_all_inputs,
    "dx-jobutil-add-output": _nothing,
}


def script() -> str:
    """The text of a tool."""
    return f"#!{sys.executable} -S\n{Path(__file__).read_text()}"


if __name__ == "__main__":
    sys.exit(TOOLS[Path(sys.argv[0]).name](sys.argv[1:]))
