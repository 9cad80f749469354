-- What a crawl knows. An address is in it once, as a page, a picture or a sitemap.
CREATE TABLE addresses (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,   -- the address in one spelling
    role TEXT NOT NULL,         -- list, car, picture, sitemap
    host TEXT NOT NULL,
    depth INTEGER NOT NULL,     -- links from a start page, or from a sitemap to begin with
    hops INTEGER NOT NULL,      -- redirects that led here
    state TEXT NOT NULL,        -- waiting, done, failed, refused, small, moved
    reason TEXT,
    found_on INTEGER REFERENCES addresses,
    moved_to INTEGER REFERENCES addresses,
    fetched_at TEXT,            -- UTC
    sha256 TEXT REFERENCES photos,
    CHECK (role IN ('list', 'car', 'picture', 'sitemap')),
    CHECK (state IN ('waiting', 'done', 'failed', 'refused', 'small', 'moved'))
);
CREATE INDEX waiting ON addresses (host, role, id) WHERE state = 'waiting';

-- How many addresses there are of a role and state: told twice a second, so not counted each time.
CREATE TABLE counts (role TEXT, state TEXT, count INTEGER NOT NULL, PRIMARY KEY (role, state)) WITHOUT ROWID;
CREATE TRIGGER added AFTER INSERT ON addresses BEGIN
    INSERT INTO counts VALUES (NEW.role, NEW.state, 1) ON CONFLICT DO UPDATE SET count = count + 1; END;
CREATE TRIGGER settled AFTER UPDATE OF state, role ON addresses BEGIN
    UPDATE counts SET count = count - 1 WHERE role = OLD.role AND state = OLD.state; INSERT INTO counts VALUES (NEW.role, NEW.state, 1) ON CONFLICT DO UPDATE SET count = count + 1; END;

CREATE TABLE cars (
    id INTEGER PRIMARY KEY,
    page_id INTEGER NOT NULL REFERENCES addresses,
    name TEXT,
    kind TEXT,
    licence TEXT,
    extra TEXT NOT NULL,        -- JSON
    refused TEXT                -- noai or noimageai: none of its pictures is kept
);
CREATE INDEX cars_of_page ON cars (page_id);

CREATE TABLE shows (
    car_id INTEGER NOT NULL REFERENCES cars,
    position INTEGER NOT NULL,
    address_id INTEGER NOT NULL REFERENCES addresses,
    others TEXT NOT NULL,       -- JSON: further addresses of the picture, should this one fail
    PRIMARY KEY (car_id, position)
) WITHOUT ROWID;
CREATE INDEX shown ON shows (address_id);

CREATE TABLE photos (
    sha256 TEXT PRIMARY KEY,
    file TEXT NOT NULL UNIQUE,
    width_px INTEGER NOT NULL,
    height_px INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE rules (key TEXT PRIMARY KEY, tried INTEGER NOT NULL, matched INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
