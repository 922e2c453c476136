//! Recipients from files: a stream of bytes becomes chunks of checked rows, in constant memory.
//!
//! A file's rows are parsed on a thread of their own (the parsers read synchronously) and written chunk by chunk, so that
//! a million rows take no more memory than a few thousand. Rows that are wrong are reported and cost the others nothing.

mod file;
mod row;
mod run;

pub use file::{FileFormat, FileRefused, TakeRow, read_file};
pub use row::{Row, RowReader, RowRefused};
pub use run::{RejectedRow, UploadRefused, UploadReport, add_few, add_stream};
