-- What is noted beside the facts: keys, administrative acts, exports, erasures.
CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
    time REAL NOT NULL,  -- seconds
    kind TEXT NOT NULL,
    domain TEXT NOT NULL,
    body TEXT NOT NULL  -- JSON object
) STRICT;
CREATE INDEX ledger_by_kind ON ledger (kind, seq);
