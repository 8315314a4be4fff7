import json, os, sys, tempfile, time

def rewrite(path, change):
    with open(path) as f:
        data = json.load(f)
    change(data)
    fd, temp = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(fd, "w") as f:
        json.dump(data, f, indent=2)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temp, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)

def loop(operation):
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    until = int(sys.stdin.readline()) / 1000
    waits, error, i = [], "", 0
    while time.time() < until:
        began = time.monotonic()
        operation(i)
        waits.append(int((time.monotonic() - began) * 1e6))
        i += 1
    json.dump({"ops": len(waits), "waits": waits, "error": error}, sys.stdout)
