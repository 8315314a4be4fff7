# What careful Python programs do: lock, load, change, write a temporary file, fsync, rename.
import fcntl, json, os, sys
sys.path.insert(0, os.path.dirname(__file__))
import worker

path, n, value = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
lock = open(path + ".lock", "a")

def add(i):
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        worker.rewrite(path, lambda data: data["added"].__setitem__("w%s-%d" % (n, i % 50), dict(value, i=i)))
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)

worker.loop(add)
