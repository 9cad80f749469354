-- What is to be said of an answer: '' of nearly all; 'asked again' of one that took the place of one that was none;
-- else why this one is none.
ALTER TABLE answers ADD COLUMN remark TEXT NOT NULL DEFAULT '';
