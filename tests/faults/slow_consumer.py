"""A consumer that a test starts behind a slow network: fetches the first samples of a node `big`.

Prints how many came and a sum over the bytes of all of them, in the order of the fields.
"""

import hashlib
import sys

import sisock

node, fields, end = sys.argv[1], sys.argv[2].split(","), float(sys.argv[3])
with sisock.Client() as client:
    data = client.get(node, fields, start=1, end=end)
    digest = hashlib.sha256()
    for name in fields:
        digest.update(data[name].t.tobytes())
        digest.update(data[name].values.tobytes())
    lengths = {len(data[name]) for name in fields}
    print("received", *lengths, digest.hexdigest(), flush=True)
    print("still joined:", *(entry.name for entry in client.nodes()), flush=True)
