"""What a wheel holds besides the library: the programs, laid out as in the repository."""

import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

FOLDERS = {
    "sisock.cli.templates": "sisock/cli/templates",
    "sisock_nodes": "data_nodes",
    "sisock_programs": ".",
    "sisock_programs.example_data": "example_data",
    "sisock_programs.example_data.layouts": "example_data/layouts",
    "sisock_programs.js.dist": "js/dist",
}
# An image's build has the library alone, and the page may not be built yet.
HERE = {name: folder for name, folder in FOLDERS.items() if Path(folder).is_dir()}
if "sdist" in sys.argv and "sisock_programs.js.dist" not in HERE:
    sys.exit("the page, js/dist, is not built: run `make wheel`")


class BuildPrograms(build_py):
    """Leave this file out, although it is in the folder of the programs."""

    def find_package_modules(self, package: str, package_dir: str) -> list:
        """Return the modules of a package."""
        found = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] != "setup"]


setup(
    cmdclass={"build_py": BuildPrograms},
    packages=[*find_packages(include=["sisock", "sisock.*"]), *HERE],
    package_dir=HERE,
    package_data={
        "sisock": ["py.typed"],
        "sisock.cli.templates": ["*"],
        "sisock_programs": ["Procfile", ".crossbar/config.json"],
        "sisock_programs.example_data": ["*.dat"],
        "sisock_programs.example_data.layouts": ["*.json"],
        "sisock_programs.js.dist": ["*.html", "*.css", "*.js"],
    },
)
