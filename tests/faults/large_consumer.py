"""A consumer of everything that the node `mapped` has; says when it is in the middle of it."""

import sisock

said = []


def tell(progress):
    """Print a line once some of it has come."""
    if progress.fraction > 0.05 and not said:
        said.append(True)
        print("in the middle", flush=True)


with sisock.Client() as client:
    data = client.get("mapped", "x", start=1, end=1_500_064_001, on_progress=tell)
    print("received", len(data["x"]), flush=True)
