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
    }

    def read(self):
        return {
            "load": os.getloadavg()[0],
            "free": shutil.disk_usage("/").free / 1e9,
        }


if __name__ == "__main__":
    sisock.run(Computer)
