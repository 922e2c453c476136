DROP TABLE book_findings;
DROP TABLE book_checks;
