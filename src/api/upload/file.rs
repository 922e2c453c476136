//! The two forms of a file: CSV with a header, and a JSON object a line. Synchronous: `run` gives it a thread.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

use super::row::{RECIPIENT_COLUMN, Row, RowReader, RowRefused};

/// How large one row may be. A quote that is never closed must not fill the memory.
const MOST_ROW_BYTES: usize = 256 * 1024;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// `text/csv`: a header, then a row a line; separated by commas or, if the header has no comma, by semicolons.
    Csv,
    /// `application/x-ndjson`: an object a line.
    NdJson,
}

/// Why reading a file ended before its end. Rows until then were handed on.
#[derive(Debug, thiserror::Error)]
pub enum FileRefused {
    /// The file as a whole cannot be meant: nothing was read.
    #[error("{0}")]
    Header(String),
    /// A row does not end.
    #[error("row {row} is longer than {MOST_ROW_BYTES} bytes")]
    RowTooLong {
        /// Which row.
        row: u64,
    },
    /// The body broke off.
    #[error("the file broke off in row {row}: {reason}")]
    BrokenOff {
        /// Which row.
        row: u64,
        /// What was heard.
        reason: String,
    },
    /// Nobody wants more rows.
    #[error("the upload was given up")]
    Unwanted,
}

/// Takes a row and its number, from 1; answers whether it wants more.
pub trait TakeRow: FnMut(u64, Result<Row, RowRefused>) -> bool {}
impl<F: FnMut(u64, Result<Row, RowRefused>) -> bool> TakeRow for F {}

/// Reads a file and hands on each row. A header is not counted as a row.
///
/// # Errors
/// Why it ended before the file's end.
pub fn read_file(
    format: FileFormat,
    bytes: impl Read,
    rows: &RowReader,
    take: impl TakeRow,
) -> Result<(), FileRefused> {
    match format {
        FileFormat::Csv => read_csv(bytes, rows, take),
        FileFormat::NdJson => read_lines(bytes, rows, take),
    }
}

/// Fails when more than a row's bytes were read since the counter was last set to zero.
struct RowLimited<R> {
    inner: R,
    since_row: Rc<Cell<usize>>,
}

/// What is read ahead is counted with a row, so the limit has that much room on top.
const READ_AHEAD_BYTES: usize = 64 * 1024;

impl<R: Read> Read for RowLimited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_row.get() > MOST_ROW_BYTES + READ_AHEAD_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let read = self.inner.read(buffer)?;
        self.since_row.set(self.since_row.get() + read);
        Ok(read)
    }
}

fn read_csv(bytes: impl Read, rows: &RowReader, mut take: impl TakeRow) -> Result<(), FileRefused> {
    let since_row = Rc::new(Cell::new(0));
    let mut buffered = BufReader::with_capacity(READ_AHEAD_BYTES, bytes);
    let delimiter = delimiter_of(buffered.fill_buf().map_err(|error| broken(0, &error))?);
    let limited = RowLimited {
        inner: buffered,
        since_row: Rc::clone(&since_row),
    };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .buffer_capacity(READ_AHEAD_BYTES)
        .from_reader(limited);
    let header = reader.byte_headers().map_err(|error| of_csv(0, &error))?;
    let columns = columns_of(header, rows)?;
    let mut record = ByteRecord::new();
    for number in 1.. {
        since_row.set(0);
        if !reader
            .read_byte_record(&mut record)
            .map_err(|error| of_csv(number, &error))?
        {
            return Ok(());
        }
        if !take(number, read_record(&record, &columns, rows)) {
            return Err(FileRefused::Unwanted);
        }
    }
    Ok(())
}

/// Spreadsheets in countries with decimal commas write semicolons.
fn delimiter_of(beginning: &[u8]) -> u8 {
    let header = beginning.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if header.contains(&b';') && !header.contains(&b',') {
        b';'
    } else {
        b','
    }
}

fn columns_of(header: &ByteRecord, rows: &RowReader) -> Result<Vec<String>, FileRefused> {
    let columns: Vec<String> = header
        .iter()
        .map(|name| str::from_utf8(name).map(|name| name.trim().to_owned()))
        .collect::<Result<_, _>>()
        .map_err(|_| FileRefused::Header("the header is not UTF-8".to_owned()))?;
    let refuse = |problem: String| Err(FileRefused::Header(problem));
    if !columns.iter().any(|column| column == RECIPIENT_COLUMN) {
        return refuse(format!("the header has no column {RECIPIENT_COLUMN:?}"));
    }
    if let Some(column) = rows
        .template()
        .columns()
        .find(|wanted| !columns.iter().any(|column| column == wanted))
    {
        return refuse(format!(
            "the header has no column {column:?}, which the template needs"
        ));
    }
    let repeated =
        (1..columns.len()).find(|&at| !columns[at].is_empty() && columns[..at].contains(&columns[at]));
    if let Some(at) = repeated {
        return refuse(format!("the header has two columns {:?}", columns[at]));
    }
    Ok(columns)
}

fn read_record(record: &ByteRecord, columns: &[String], rows: &RowReader) -> Result<Row, RowRefused> {
    if record.len() != columns.len() {
        return Err(RowRefused::Malformed(format!(
            "the row has {} fields, the header has {}",
            record.len(),
            columns.len()
        )));
    }
    let not_text = |_| RowRefused::Malformed("the row is not UTF-8".to_owned());
    let fields: Vec<&str> = record
        .iter()
        .map(str::from_utf8)
        .collect::<Result<_, _>>()
        .map_err(not_text)?;
    rows.read(|wanted| {
        let position = columns.iter().position(|column| column == wanted)?;
        Some(fields[position])
    })
}

fn read_lines(bytes: impl Read, rows: &RowReader, mut take: impl TakeRow) -> Result<(), FileRefused> {
    let mut reader = BufReader::with_capacity(READ_AHEAD_BYTES, bytes);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let most = MOST_ROW_BYTES as u64 + 1;
        let read = (&mut reader).take(most).read_until(b'\n', &mut line);
        if read.map_err(|error| broken(number, &error))? == 0 {
            return Ok(());
        }
        if line.len() > MOST_ROW_BYTES {
            return Err(FileRefused::RowTooLong { row: number });
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if !take(number, read_line(&line, rows)) {
            return Err(FileRefused::Unwanted);
        }
    }
    Ok(())
}

fn read_line(line: &[u8], rows: &RowReader) -> Result<Row, RowRefused> {
    let object: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|error| RowRefused::Malformed(format!("not a JSON object: {error}")))?;
    rows.read_object(&object)
}

fn of_csv(row: u64, error: &csv::Error) -> FileRefused {
    match error.kind() {
        csv::ErrorKind::Io(error) => broken(row, error),
        _ => FileRefused::BrokenOff {
            row,
            reason: error.to_string(),
        },
    }
}

fn broken(row: u64, error: &std::io::Error) -> FileRefused {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return FileRefused::RowTooLong { row };
    }
    FileRefused::BrokenOff {
        row,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::content::Template;

    type Seen = Vec<(u64, Result<String, String>)>;

    fn read(format: FileFormat, file: &[u8]) -> (Seen, Result<(), String>) {
        let template =
            json!({"name": "a", "language": "en", "components": [{"type": "body", "text": "{{name}}"}]});
        let rows = RowReader::new(Template::check(&template).expect("a template"));
        let mut seen = Vec::new();
        let end = read_file(format, file, &rows, |number, row| {
            seen.push((
                number,
                row.map(|row| row.recipient)
                    .map_err(|refused| refused.to_string()),
            ));
            true
        });
        (seen, end.map_err(|refused| refused.to_string()))
    }

    fn ok(number: u64, recipient: &str) -> (u64, Result<String, String>) {
        (number, Ok(recipient.to_owned()))
    }

    fn wrong(number: u64, reason: &str) -> (u64, Result<String, String>) {
        (number, Err(reason.to_owned()))
    }

    #[test]
    fn good_rows_are_kept_and_wrong_ones_are_named() {
        let file = b"recipient,name\n+5511999990001,Ana\n12,Bo\n+5511999990002,\n+5511999990003,\"C, D\"\n+5511999990004\n";
        let (seen, end) = read(FileFormat::Csv, file);
        assert_eq!(end, Ok(()));
        assert_eq!(
            seen,
            [
                ok(1, "+5511999990001"),
                wrong(
                    2,
                    "recipient: not an E.164 phone number (+ and 8 to 15 digits) nor a business-scoped user id"
                ),
                wrong(3, "no value for column \"name\""),
                ok(4, "+5511999990003"),
                wrong(5, "the row has 1 fields, the header has 2"),
            ]
        );
    }

    #[test]
    fn a_spreadsheets_byte_order_mark_and_semicolons_are_taken() {
        let (seen, end) = read(
            FileFormat::Csv,
            "\u{feff}recipient;name\r\n+5511999990001;Zoë, A\r\n".as_bytes(),
        );
        assert_eq!((seen, end), (vec![ok(1, "+5511999990001")], Ok(())));
    }

    #[test]
    fn bytes_that_are_no_text_cost_their_row_only() {
        let (seen, _) = read(
            FileFormat::Csv,
            b"recipient,name\n+5511999990001,\xff\n+5511999990002,B\n",
        );
        assert_eq!(seen, [wrong(1, "the row is not UTF-8"), ok(2, "+5511999990002")]);
    }

    #[test]
    fn a_file_without_the_needed_columns_is_refused_as_a_whole() {
        let refused = |file: &[u8]| read(FileFormat::Csv, file).1.expect_err("refused");
        assert_eq!(refused(b"phone,name\n"), "the header has no column \"recipient\"");
        assert_eq!(refused(b""), "the header has no column \"recipient\"");
        assert_eq!(
            refused(b"recipient\n"),
            "the header has no column \"name\", which the template needs"
        );
        assert_eq!(
            refused(b"recipient,name,name\n"),
            "the header has two columns \"name\""
        );
    }

    #[test]
    fn a_row_without_an_end_is_refused_before_it_fills_the_memory() {
        let mut file = b"recipient,name\n+5511999990001,A\n+5511999990002,\"".to_vec();
        file.resize(file.len() + 2_000_000, b'x');
        let (seen, end) = read(FileFormat::Csv, &file);
        assert_eq!(seen, [ok(1, "+5511999990001")]);
        assert_eq!(end.expect_err("refused"), "row 2 is longer than 262144 bytes");
        let (_, end) = read(FileFormat::NdJson, &vec![b' '; 300_000]);
        assert_eq!(end.expect_err("refused"), "row 1 is longer than 262144 bytes");
    }

    #[test]
    fn lines_of_json_are_rows() {
        let file = b"{\"recipient\":\"+5511999990001\",\"name\":\"A\"}\n\nnonsense\n{\"recipient\":\"US.1\",\"name\":2}";
        let (seen, end) = read(FileFormat::NdJson, file);
        assert_eq!(end, Ok(()));
        assert_eq!(seen[0], ok(1, "+5511999990001"));
        assert_eq!(seen[2], ok(4, "US.1"));
        let (number, refused) = &seen[1];
        assert!(
            *number == 3
                && refused
                    .as_ref()
                    .is_err_and(|reason| reason.starts_with("not a JSON object"))
        );
    }
}
