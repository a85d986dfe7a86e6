import os

import sisock


class Computer(sisock.LiveNode):
    """How busy this computer is."""

    name = "computer"
    fields = {
        "load": {"description": "programs that run or wait"},
    }

    def read(self):
        return {"load": os.getloadavg()[0]}


if __name__ == "__main__":
    sisock.run(Computer)
