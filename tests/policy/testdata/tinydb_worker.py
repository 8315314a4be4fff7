# A program on TinyDB's default table: it opens the file once, inserts documents, and later changes its own by their ids.
import json
import os
import sys
import time

try:
    from tinydb import TinyDB

    print("with tinydb", flush=True)
except ImportError:
    # What TinyDB does to its file and with its ids, in a few lines: one descriptor for the whole run, the table read and
    # written whole in place, the next id counted on from the greatest one that was there.
    class TinyDB:
        def __init__(self, path):
            open(path, "a").close()
            self.handle = open(path, "r+")
            self.last = max([int(i) for i in self.read()], default=0)

        def read(self):
            self.handle.seek(0, os.SEEK_END)
            if not self.handle.tell():
                return {}
            self.handle.seek(0)
            return json.load(self.handle).get("_default", {})

        def write(self, table):
            self.handle.seek(0)
            self.handle.write(json.dumps({"_default": table}))
            self.handle.flush()
            os.fsync(self.handle.fileno())
            self.handle.truncate()

        def insert(self, document):
            self.last += 1
            table = self.read()
            table[str(self.last)] = document
            self.write(table)
            return self.last

        def update(self, fields, doc_ids):
            table = self.read()
            for i in doc_ids:
                table[str(i)].update(fields)
            self.write(table)

        def close(self):
            self.handle.close()

    print("with a stand-in", flush=True)

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])


def wait_for(file):
    while not os.path.exists(file):
        time.sleep(0.01)


db = TinyDB(path)
print("opened", flush=True)
wait_for(sys.argv[4])
mine = [db.insert({"by": name, "i": i, "updates": 0}) for i in range(count)]
print("inserted", flush=True)
wait_for(sys.argv[5])
for i in mine:
    db.update({"updates": 1}, doc_ids=[i])
    time.sleep(0.02)
for i in mine:
    db.update({"updates": 2, "who": name}, doc_ids=[i])
db.close()
print("updated", flush=True)
