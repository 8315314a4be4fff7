# As flock.py, with the filelock package.
import json, os, sys
import filelock
sys.path.insert(0, os.path.dirname(__file__))
import worker

path, n, value = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
lock = filelock.FileLock(path + ".lock")

def add(i):
    with lock:
        worker.rewrite(path, lambda data: data["added"].__setitem__("w%s-%d" % (n, i % 50), dict(value, i=i)))

worker.loop(add)
