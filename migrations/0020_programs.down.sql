DROP TRIGGER nodes_note_program ON nodes;
DROP FUNCTION note_program();
DROP TABLE programs;
