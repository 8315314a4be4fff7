# A runner as people write them: it keeps its results in a JSON file that it reads and writes whole, and knows of nothing.
import json
import os
import random
import sys
import time

path, model, first, count, style = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
print("pid", os.getpid(), flush=True)


def load():
    with open(path) as f:
        return json.load(f)


def save(doc):
    if "replace" in style:
        with open(path + ".tmp", "w") as f:
            json.dump(doc, f, indent=2)
        os.replace(path + ".tmp", path)
    else:
        with open(path, "w") as f:
            json.dump(doc, f, indent=2)


doc = load()
for i in range(first, first + count):
    if "reread" in style:
        doc = load()
    mine = doc["models"].setdefault(
        model, {"total_tests": 0, "success": 0, "success_rate": 0.0, "by_type": {}, "runs": []}
    )
    kind, ok = random.choice(["math", "code", "text"]), random.random() < 0.6
    print("try", i, flush=True)
    mine["total_tests"] += 1
    mine["success"] += ok
    mine["success_rate"] = mine["success"] / mine["total_tests"]
    mine["by_type"][kind] = mine["by_type"].get(kind, 0) + 1
    mine["runs"].append({"id": i, "type": kind, "ok": ok})
    save(doc)
    print("ack", i, flush=True)
    time.sleep(random.random() * 0.02)
