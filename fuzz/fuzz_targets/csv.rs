//! Files of recipients, CSV and lines of JSON: none makes us panic, and rows are numbered in order.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use malote::api::upload::{FileFormat, RowReader, read_file};
use malote::content::Template;

static ROWS: LazyLock<RowReader> = LazyLock::new(|| {
    let template = serde_json::json!({
        "name": "order_update", "language": "en_US",
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "{{name}}"}]}],
    });
    RowReader::new(Template::check(&template).expect("a template"))
});

fuzz_target!(|data: &[u8]| {
    for format in [FileFormat::Csv, FileFormat::NdJson] {
        let mut last = 0;
        let _ = read_file(format, data, &ROWS, |number, row| {
            assert!(number > last, "row {number} after row {last}");
            last = number;
            if let Ok(row) = row {
                assert!(!row.recipient.is_empty());
            }
            number < 1_000
        });
    }
});
