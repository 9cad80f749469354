-- Who may write: each process that opens the workspace for writing raises the number. One that finds a higher number than
-- its own has lost the workspace to another (its lease ran out while its machine slept), and writes no more.
CREATE TABLE writer (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO writer VALUES (1, 0);
