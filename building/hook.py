"""A hook that puts the compiled form of the models into a wheel, if there is a C compiler."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledForm(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is hatchling's own
    """Adds a shared object beside the source of each module of the hot path, or says why it does not."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, or use what `make compile` has made from these sources; an editable installation gets nothing."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from building.compile import can_compile, compile_into  # noqa: PLC0415 - needs the path
        from shootdown import form  # noqa: PLC0415 - needs the path

        if os.environ.get(form.VARIABLE):
            self.app.display_warning(f"{form.VARIABLE} is set: the models are not compiled.")
            return
        if not can_compile():
            self.app.display_warning("There is no C compiler: the models will run interpreted.")
            return
        folder = Path(self.root, ".compiled")
        if not form.has_form(folder, Path(self.root)):
            # The folder is kept in the hook: the files must exist when the wheel is written, which is after this
            # method.
            self._scratch = tempfile.TemporaryDirectory()
            folder = Path(self._scratch.name)
            os.chdir(self.root)
            compile_into(folder)
        for file in sorted(folder.rglob(f"*{form.SUFFIX}")):
            build_data["force_include"][str(file)] = str(file.relative_to(folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
