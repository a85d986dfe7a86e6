import os
import shutil

import sisock


class Computer(sisock.LiveNode):
    """How busy this computer is."""

    name = "computer"
    interval = 0.5
    fields = {
        "load": {
            "description": "programs that run or wait",
            "limits": {"warning": [None, 4], "alarm": [None, 16]},
            "precision": 2,
        },
        "free": {
            "description": "free space on the disk",
            "units": "GB",
            "limits": {"alarm": [1, None]},
            "precision": 1,
        },
        "busy": {"type": "bool", "labels": {"0": "at rest", "1": "busy"}},
    }

    def __init__(self, folder):
        self.folder = folder

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--folder", default="/", help="a folder on the disk to watch")

    def read(self):
        load = os.getloadavg()[0]
        return {
            "load": load,
            "free": self.read_disk(),
            "busy": load > 4,
        }

    def read_disk(self):
        try:
            free = shutil.disk_usage(self.folder).free / 1e9
        except OSError as error:
            self.trouble = f"{self.folder}: {error.strerror}"
            return None
        self.trouble = None
        return free


if __name__ == "__main__":
    sisock.run(Computer)
