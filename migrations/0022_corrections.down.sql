DROP TABLE corrections;
DROP FUNCTION refuse_decided_correction();
