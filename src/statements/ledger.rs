//! The ledger's rows of a period with what proves each, for somebody who follows an invoice's line to its messages and to what Meta said:
//! the captured units of a segment and a pool are the quantities of the lines of that segment's plan and pool.

use bytes::Bytes;
use domain::ids::TenantId;

use crate::spreadsheet::harmless;
use crate::storage::ledger_lines::{self, LedgerLine};
use crate::storage::{Connection, StorageError};

/// In which form rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerForm {
    /// With a header.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// The rows of a period, a page at a time.
#[derive(Clone, Debug)]
pub struct LedgerPages {
    tenant: TenantId,
    period: i32,
    form: LedgerForm,
    after: i64,
    begun: bool,
}

const COLUMNS: [&str; 22] = [
    "seq",
    "at",
    "kind",
    "period",
    "segment",
    "pool",
    "category",
    "units",
    "debit",
    "credit",
    "attempt_id",
    "message_id",
    "campaign_id",
    "wamid",
    "evidence_id",
    "status",
    "status_at",
    "pricing_type",
    "pricing_category",
    "hash",
    "amount",
    "currency",
];

impl LedgerForm {
    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// The ending of its files.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

impl LedgerPages {
    /// Begins before the first row.
    pub const fn new(tenant: TenantId, period: i32, form: LedgerForm) -> Self {
        Self {
            tenant,
            period,
            form,
            after: 0,
            begun: false,
        }
    }

    /// Writes the next page; nothing after the last one. The first page is never nothing where there is a header.
    ///
    /// # Errors
    /// What the database says.
    pub async fn next(&mut self, connection: &mut Connection) -> Result<Option<Bytes>, StorageError> {
        let lines = ledger_lines::page(connection, self.tenant, self.period, self.after).await?;
        let is_first = !std::mem::replace(&mut self.begun, true);
        if let Some(last) = lines.last() {
            self.after = last.seq;
        } else if !is_first {
            return Ok(None);
        }
        let page = match self.form {
            LedgerForm::Csv => csv(&lines, is_first)?,
            LedgerForm::Ndjson => ndjson(&lines)?,
        };
        Ok(Some(page.into()))
    }
}

fn csv(lines: &[LedgerLine], with_header: bool) -> Result<Vec<u8>, StorageError> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    if with_header {
        writer.write_record(COLUMNS).map_err(StorageError::nonsense)?;
    }
    for line in lines {
        writer
            .write_record(fields(line))
            .map_err(StorageError::nonsense)?;
    }
    writer.into_inner().map_err(StorageError::nonsense)
}

fn ndjson(lines: &[LedgerLine]) -> Result<Vec<u8>, StorageError> {
    let mut page = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut page, line).map_err(StorageError::nonsense)?;
        page.push(b'\n');
    }
    Ok(page)
}

fn fields(line: &LedgerLine) -> [String; 22] {
    fn text<T: ToString>(value: Option<&T>) -> String {
        value.map(ToString::to_string).unwrap_or_default()
    }
    [
        line.seq.to_string(),
        line.at.to_string(),
        line.kind.clone(),
        line.period.to_string(),
        line.segment.to_string(),
        harmless(&line.pool),
        line.category.clone(),
        line.units.to_string(),
        line.debit.clone(),
        line.credit.clone(),
        text(line.attempt_id.as_ref()),
        text(line.message_id.as_ref()),
        text(line.campaign_id.as_ref()),
        harmless(line.wamid.as_deref().unwrap_or_default()),
        text(line.evidence_id.as_ref()),
        text(line.status.as_ref()),
        text(line.status_at.as_ref()),
        harmless(line.pricing_type.as_deref().unwrap_or_default()),
        harmless(line.pricing_category.as_deref().unwrap_or_default()),
        line.hash.clone(),
        text(line.amount.as_ref()),
        line.currency.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn line() -> LedgerLine {
        LedgerLine {
            seq: 2,
            at: Timestamp::UNIX_EPOCH,
            kind: "capture".to_owned(),
            period: 1,
            segment: 1,
            pool: "units".to_owned(),
            category: "utility".to_owned(),
            units: 1,
            debit: "held".to_owned(),
            credit: "used".to_owned(),
            attempt_id: Some(Uuid::nil()),
            message_id: Some(Uuid::nil()),
            campaign_id: None,
            wamid: Some("=wamid".to_owned()),
            evidence_id: Some(Uuid::nil()),
            status: Some("delivered".to_owned()),
            status_at: Some(Timestamp::UNIX_EPOCH),
            pricing_type: Some("regular".to_owned()),
            pricing_category: Some("utility".to_owned()),
            hash: "ab".repeat(32),
            amount: Some("-12.50".to_owned()),
            currency: "BRL".to_owned(),
        }
    }

    #[test]
    fn a_row_says_the_same_in_both_forms() {
        let text = csv(&[line()], true).expect("written");
        let mut reader = csv::Reader::from_reader(&text[..]);
        let header = reader.headers().expect("a header").clone();
        let row = reader.records().next().expect("a row").expect("well formed");
        let json = ndjson(&[line(), line()]).expect("written");
        let json = String::from_utf8(json).expect("text");
        assert_eq!(json.lines().count(), 2);
        let object: serde_json::Value =
            serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
        assert_eq!(object.as_object().expect("an object").len(), header.len());
        for (name, value) in header.iter().zip(&row) {
            let there = match &object[name] {
                serde_json::Value::Null => String::new(),
                // A credit begins as a formula does, and is a number.
                serde_json::Value::String(text) if name == "amount" => text.clone(),
                serde_json::Value::String(text) => harmless(text),
                other => other.to_string(),
            };
            assert_eq!(value, there, "{name}");
        }
    }
}
