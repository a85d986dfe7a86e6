import os

import sisock


class Computer(sisock.LiveNode):
    name = "computer"
    fields = {"load": {}}

    def read(self):
        return {"load": os.getloadavg()[0]}


if __name__ == "__main__":
    sisock.run(Computer)
