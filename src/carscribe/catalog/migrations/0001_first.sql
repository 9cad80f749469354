-- A photo is its bytes; files are the places where they were found, each with what was crawled with it.
CREATE TABLE photos (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL
) STRICT;

-- path: absolute; a blob of the file system's own bytes where these are no UTF-8. photo_id: NULL until it was read.
-- size_bytes and mtime_ns tell, without reading, that a file is still the same; NULL when there was none.
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path ANY NOT NULL UNIQUE,
    key TEXT NOT NULL,
    size_bytes INTEGER,
    mtime_ns INTEGER,
    photo_id INTEGER REFERENCES photos,
    name TEXT,
    kind TEXT,
    extra TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX files_by_key ON files (key);
CREATE INDEX files_by_photo ON files (photo_id);

-- Every recipe that was ever asked, whole, as JSON.
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    content TEXT NOT NULL UNIQUE
) STRICT;

-- The part of an answer's identity that is the question: rendered text, choices (JSON), most new tokens.
CREATE TABLE prompts (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    choices TEXT NOT NULL,
    max_new_tokens INTEGER NOT NULL,
    UNIQUE (text, choices, max_new_tokens)
) STRICT;

-- A recipe rendered in one language for some metadata. Photos whose prompts are alike share a set.
CREATE TABLE prompt_sets (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    recipe_id INTEGER NOT NULL REFERENCES recipes,
    language TEXT NOT NULL
) STRICT;
CREATE TABLE prompt_set_items (
    prompt_set_id INTEGER NOT NULL REFERENCES prompt_sets,
    place INTEGER NOT NULL,
    question TEXT NOT NULL,
    priority INTEGER NOT NULL,
    prompt_id INTEGER NOT NULL REFERENCES prompts,
    PRIMARY KEY (prompt_set_id, place)
) STRICT, WITHOUT ROWID;

-- The part of an answer's identity that is neither photo nor question. model: its name, for people.
CREATE TABLE conditions (
    id INTEGER PRIMARY KEY,
    weights TEXT NOT NULL,
    adapter TEXT NOT NULL,
    decoding TEXT NOT NULL,
    max_tiles INTEGER NOT NULL,
    model TEXT NOT NULL,
    UNIQUE (weights, adapter, decoding, max_tiles)
) STRICT;

-- How an answer came about; kept and shown, no reason to ask again.
CREATE TABLE provenances (
    id INTEGER PRIMARY KEY,
    dtype TEXT NOT NULL,
    device TEXT NOT NULL,
    versions TEXT NOT NULL,
    UNIQUE (dtype, device, versions)
) STRICT;

-- state: planned (nothing was asked, for the model did not load), running, done, stopped (Ctrl-C), failed.
-- "running" with no writer: it was killed.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    state TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    model TEXT NOT NULL,
    condition_id INTEGER NOT NULL REFERENCES conditions,
    provenance_id INTEGER REFERENCES provenances,
    photos INTEGER NOT NULL,
    to_ask INTEGER NOT NULL,
    recipes TEXT NOT NULL DEFAULT '[]',
    figures TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- What is asked of a file now: the newest run that had it decides.
CREATE TABLE asks (
    file_id INTEGER NOT NULL REFERENCES files,
    recipe TEXT NOT NULL,
    language TEXT NOT NULL,
    prompt_set_id INTEGER NOT NULL REFERENCES prompt_sets,
    condition_id INTEGER NOT NULL REFERENCES conditions,
    run_id INTEGER NOT NULL REFERENCES runs,
    PRIMARY KEY (file_id, recipe, language)
) STRICT, WITHOUT ROWID;

-- tiles: what was used, fewer than asked_tiles when memory allowed no more. scores: JSON, of choices only.
-- seconds: this answer's share of its batch's time.
CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    photo_id INTEGER NOT NULL REFERENCES photos,
    prompt_id INTEGER NOT NULL REFERENCES prompts,
    condition_id INTEGER NOT NULL REFERENCES conditions,
    provenance_id INTEGER NOT NULL REFERENCES provenances,
    run_id INTEGER NOT NULL REFERENCES runs,
    tiles INTEGER NOT NULL,
    asked_tiles INTEGER NOT NULL,
    text TEXT NOT NULL,
    scores TEXT,
    mass REAL,
    tokens INTEGER NOT NULL,
    finish TEXT NOT NULL,
    seconds REAL,
    answered_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX answers_by_identity ON answers (photo_id, condition_id, prompt_id, provenance_id, tiles);

-- Why a file was set aside. It is tried again when the file, the settings or (condition_id) the model has changed.
CREATE TABLE failures (
    id INTEGER PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES files,
    run_id INTEGER NOT NULL REFERENCES runs,
    condition_id INTEGER REFERENCES conditions,
    settings TEXT NOT NULL,
    size_bytes INTEGER,
    mtime_ns INTEGER,
    error TEXT NOT NULL,
    failed_at TEXT NOT NULL
) STRICT;
CREATE INDEX failures_by_file ON failures (file_id);

-- What people said. The newest of a question counts; none is ever changed. answer_id: what was judged.
CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY,
    photo_id INTEGER NOT NULL REFERENCES photos,
    recipe TEXT NOT NULL,
    question TEXT NOT NULL,
    language TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('approved', 'edited', 'rejected')),
    text TEXT,
    answer_id INTEGER REFERENCES answers,
    author TEXT,
    note TEXT,
    judged_at TEXT NOT NULL,
    CHECK ((decision = 'rejected') = (text IS NULL))
) STRICT;
CREATE INDEX verdicts_by_photo ON verdicts (photo_id);
CREATE TRIGGER verdicts_are_never_changed BEFORE UPDATE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts are append-only'); END;
CREATE TRIGGER verdicts_are_never_deleted BEFORE DELETE ON verdicts BEGIN SELECT RAISE(ABORT, 'verdicts are append-only'); END;
