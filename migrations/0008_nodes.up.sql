-- phase: expand
-- Several nodes: which process speaks under a node's name, and for which partitions it stands in line.

ALTER TABLE nodes ADD COLUMN instance uuid;
ALTER TABLE nodes ADD COLUMN registered smallint[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN nodes.instance IS 'The process, new at each start; two processes under one name find each other by it.';
COMMENT ON COLUMN nodes.registered IS 'Partitions that the node consumes or waits for: whoever hands one over looks here first.';
