import os
import shutil

import sisock


class Computer(sisock.LiveNode):
    """How busy this computer is."""

    name = "computer"
    interval = 0.5
    keep = "30d"
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
            "timeline": "disk",
            "interval": 5,
        },
        "busy": {"type": "bool", "labels": {"0": "at rest", "1": "busy"}},
    }

    def __init__(self, folder):
        self.folder = folder
        self.readings = 0

    @classmethod
    def add_arguments(cls, parser):
        parser.add_argument("--folder", default="/", help="a folder on the disk to watch")

    def read(self):
        load = os.getloadavg()[0]
        values = {"load": load, "busy": load > 4}
        if self.readings % 10 == 0:
            values["free"] = self.read_disk()
        self.readings += 1
        return values

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
