-- To find by its name and size whether a new file may be a copy of one that is known.
ALTER TABLE files ADD COLUMN file_name TEXT AS (substr(key, 1 + length(rtrim(key, replace(key, '/', ''))))) VIRTUAL;
CREATE INDEX files_by_name ON files (file_name, size_bytes);
