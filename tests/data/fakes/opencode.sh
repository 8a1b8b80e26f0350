#!/bin/sh
# Writes as opencode does, one step for each line that comes on its standard input: opencode.sh ROOT SESSION CWD
# Its database is a real one, in WAL mode, and stays open for as long as it runs. Needs python3 with sqlite3.
exec python3 -u -c '
import os, sqlite3, sys, time
root, session, cwd = sys.argv[1:]
os.makedirs(root, exist_ok=True)
db = sqlite3.connect(os.path.join(root, "opencode.db"), isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("create table if not exists `session` (`id` text primary key, `parent_id` text, `directory` text not null, `title` text not null,"
           " `version` text not null, `time_created` integer not null, `time_updated` integer not null)")
db.execute("create table if not exists `todo` (`session_id` text not null, `content` text not null, `status` text not null, `priority` text not null,"
           " `position` integer not null, `time_created` integer not null, `time_updated` integer not null,"
           " constraint `todo_pk` primary key(`session_id`, `position`))")
now = lambda: int(time.time() * 1000)
def touch():
    db.execute("update session set time_updated = ? where id = ?", (now(), session))
def todo(status):
    db.execute("begin")
    db.execute("delete from todo where session_id = ?", (session,))
    db.execute("insert into todo values (?, ?, ?, ?, 0, ?, ?)", (session, "build the shed", status, "high", now(), now()))
    db.execute("commit")
    touch()
for line in sys.stdin:
    step = line.strip()
    if step == "prompt":
        db.execute("insert into session values (?, null, ?, ?, ?, ?, ?)", (session, cwd, "Build a shed", "1.2.0", now(), now()))
    elif step == "todos":
        todo("in_progress")
    elif step == "line":
        touch()
    elif step == "done":
        todo("completed")
    elif step == "checkpoint":
        db.execute("pragma wal_checkpoint(truncate)")
    print(step)
' "$@"
