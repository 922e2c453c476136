ALTER TABLE nodes DROP COLUMN registered;
ALTER TABLE nodes DROP COLUMN instance;
