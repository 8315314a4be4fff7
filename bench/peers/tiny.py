# TinyDB as its documentation shows it, in every process: it has no lock, so that records are lost; this is its speed.
import json, os, sys
sys.path.insert(0, os.path.dirname(__file__))
import worker
from tinydb import TinyDB

path, value = sys.argv[1], json.loads(sys.argv[3])
from tinydb.table import Document
db, n = TinyDB(path), int(sys.argv[2])

def add(i):
    try:
        db.upsert(Document(value, doc_id=10**6 + n * 50 + i % 50))
    except (ValueError, KeyError):  # it read what another process was writing
        pass

worker.loop(add)
