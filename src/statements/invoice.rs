//! An invoice as JSON, as CSV and as a page that prints well: always the same stored lines.

use domain::correction::Correction;
use domain::ids::TenantId;
use domain::invoice::Invoice;
use domain::money::{Currency, Minor};
use domain::period::Period;
use domain::rating::{correction, period_lines, total};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::spreadsheet::harmless;
use crate::storage::booked::{self, OpenPeriod};
use crate::storage::invoices::{LineShape, StoredInvoice};
use crate::storage::tenants::Addressee;
use crate::storage::{Connection, StorageError, corrections};

/// In which form an invoice is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceForm {
    /// JSON.
    Json,
    /// A row per line, with a header.
    Csv,
    /// A page that needs nothing else, for people and printers.
    Html,
}

/// An invoice.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InvoiceView {
    /// Its id; null while the period is open.
    pub id: Option<Uuid>,
    /// The number of its period.
    pub period: i32,
    /// `draft` until the period is closed, then `final`.
    pub state: String,
    /// When the period begins.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When the period ends.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// ISO 4217.
    pub currency: String,
    /// The sum of the lines, in the currency's smallest unit.
    pub total_minor: i64,
    /// The same for people.
    pub total: String,
    /// What is charged.
    pub lines: Vec<LineShape>,
    /// When it was issued; null while the period is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub issued_at: Option<Timestamp>,
    /// The last ledger row that counts; null while the period is open.
    pub cut_seq: Option<i64>,
    /// The chain's hash at that row: SHA-256, hexadecimal.
    pub cut_hash: Option<String>,
}

const COLUMNS: [&str; 10] = [
    "period",
    "service_period",
    "kind",
    "pool",
    "description",
    "quantity",
    "unit_price",
    "amount",
    "currency",
    "state",
];

impl InvoiceView {
    /// Shows an invoice that is final.
    ///
    /// # Errors
    /// When stored data makes no sense.
    pub fn of_stored(stored: StoredInvoice) -> Result<Self, StorageError> {
        let currency = Currency::from_code(&stored.currency).map_err(StorageError::nonsense)?;
        Ok(Self {
            id: Some(stored.id.0),
            period: stored.period,
            state: stored.state,
            starts_at: stored.starts_at,
            ends_at: stored.ends_at,
            total_minor: stored.total_minor,
            total: currency.format(Minor(stored.total_minor)),
            lines: serde_json::from_str(&stored.lines).map_err(StorageError::nonsense)?,
            currency: stored.currency,
            issued_at: Some(stored.issued_at),
            cut_seq: Some(stored.cut_seq),
            cut_hash: Some(stored.cut_hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        })
    }

    /// Shows what the invoice of a period would be that has ended and is not closed yet.
    pub fn of_ended(period: &Period, invoice: &Invoice) -> Self {
        let lines = invoice
            .lines
            .iter()
            .map(|line| LineShape::of(line, &invoice.currency));
        Self {
            id: None,
            issued_at: None,
            cut_seq: None,
            cut_hash: None,
            period: invoice.period,
            state: "draft".to_owned(),
            starts_at: period.starts_at,
            ends_at: period.ends_at,
            total_minor: invoice.total.0,
            total: invoice.currency.format(invoice.total),
            lines: lines.collect(),
            currency: invoice.currency.code.clone(),
        }
    }

    /// Shows what the invoice of the open period would be now; nothing while the tenant has no plan.
    ///
    /// # Errors
    /// What the database says, or when stored data makes no sense.
    pub async fn open(
        connection: &mut Connection,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Option<Self>, StorageError> {
        let Some(period) = booked::present(connection, tenant, now).await? else {
            return Ok(None);
        };
        let corrections = corrections::of_period(connection, tenant, period.booked.number, i64::MAX).await?;
        Self::of_open(&period, &corrections).map(Some)
    }

    fn of_open(period: &OpenPeriod, corrections: &[Correction]) -> Result<Self, StorageError> {
        let currency = &period.plan()?.plan.currency;
        let mut lines = period_lines(&period.used()?).map_err(StorageError::nonsense)?;
        for one in corrections {
            lines.push(correction(one, currency).map_err(StorageError::nonsense)?);
        }
        let sum = total(&lines).map_err(StorageError::nonsense)?;
        Ok(Self {
            id: None,
            issued_at: None,
            cut_seq: None,
            cut_hash: None,
            period: period.booked.number,
            state: "draft".to_owned(),
            starts_at: period.booked.period.starts_at,
            ends_at: period.booked.period.ends_at,
            total_minor: sum.0,
            total: currency.format(sum),
            lines: lines.iter().map(|line| LineShape::of(line, currency)).collect(),
            currency: currency.code.clone(),
        })
    }

    /// Writes it as CSV.
    ///
    /// # Errors
    /// Never in memory.
    pub fn csv(&self) -> Result<String, StorageError> {
        let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
        writer.write_record(COLUMNS).map_err(StorageError::nonsense)?;
        for line in &self.lines {
            let service = line.service_period.unwrap_or(self.period);
            let record = [
                self.period.to_string(),
                service.to_string(),
                line.kind.clone(),
                harmless(line.pool.as_deref().unwrap_or_default()),
                line.description.clone(),
                line.quantity.to_string(),
                line.unit_price.clone(),
                line.amount.clone(),
                self.currency.clone(),
                self.state.clone(),
            ];
            writer.write_record(&record).map_err(StorageError::nonsense)?;
        }
        let written = writer.into_inner().map_err(StorageError::nonsense)?;
        String::from_utf8(written).map_err(StorageError::nonsense)
    }

    /// Writes it as a page to print, with the times of whom it is for.
    pub fn html(&self, whom: &Addressee) -> String {
        let lines: String = self.lines.iter().map(|line| self.row(line)).collect();
        include_str!("invoice.html")
            .replace("{title}", &self.title())
            .replace("{state}", &escaped(&self.state))
            .replace("{from}", &local(self.starts_at, &whom.zone))
            .replace("{to}", &local(self.ends_at, &whom.zone))
            .replace("{standing}", &self.standing(&whom.zone))
            .replace("{total}", &escaped(&self.total))
            .replace("{currency}", &escaped(&self.currency))
            .replace("{lines}", &lines)
            // Last, so that nothing in the name of a tenant is taken for a place.
            .replace("{tenant}", &escaped(&whom.name))
    }

    fn title(&self) -> String {
        match self.id {
            Some(id) => format!("Invoice {id}"),
            None => format!("Draft of the invoice of period {}", self.period),
        }
    }

    /// Says what the figures stand on.
    fn standing(&self, zone: &TimeZone) -> String {
        match (self.issued_at, self.cut_seq, &self.cut_hash) {
            (Some(at), Some(seq), Some(hash)) => {
                format!(
                    "Issued on {}. Computed from the ledger's rows up to {seq}, whose hash is {hash}.",
                    local(at, zone)
                )
            }
            _ => "The period is not closed: figures may still change.".to_owned(),
        }
    }

    fn row(&self, line: &LineShape) -> String {
        let about = match line.service_period {
            Some(period) if period != self.period => format!(" (period {period})"),
            _ => String::new(),
        };
        format!(
            "<tr><td>{}{about}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(&line.description),
            escaped(line.pool.as_deref().unwrap_or_default()),
            line.quantity,
            escaped(&line.unit_price),
            escaped(&line.amount)
        )
    }
}

/// Gives a time as the clocks of a zone show it, and which zone that is.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    at.strftime("%Y-%m-%d %H:%M %Q").to_string()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice() -> InvoiceView {
        let line = |kind: &str, pool: &str, service_period| LineShape {
            kind: kind.to_owned(),
            pool: Some(pool.to_owned()),
            service_period,
            description: "Messages beyond the allowance".to_owned(),
            quantity: 300,
            unit_price: "0.12".to_owned(),
            amount_minor: 3_600,
            amount: "36.00".to_owned(),
        };
        InvoiceView {
            id: Some(Uuid::nil()),
            period: 4,
            state: "final".to_owned(),
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at: Timestamp::UNIX_EPOCH,
            currency: "BRL".to_owned(),
            total_minor: 7_200,
            total: "72.00".to_owned(),
            lines: vec![
                line("overage", "units", None),
                line("adjustment", "=cmd", Some(3)),
            ],
            issued_at: Some(Timestamp::UNIX_EPOCH),
            cut_seq: Some(77),
            cut_hash: Some("ab".repeat(32)),
        }
    }

    #[test]
    fn each_line_is_a_row_of_csv_and_no_spreadsheet_runs_it() {
        let text = invoice().csv().expect("written");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().expect("a header").len(), COLUMNS.len());
        let rows: Vec<_> = reader.records().map(|row| row.expect("well formed")).collect();
        assert_eq!((&rows[0][1], &rows[0][3], &rows[0][7]), ("4", "units", "36.00"));
        assert_eq!((&rows[1][1], &rows[1][3]), ("3", "'=cmd"));
    }

    #[test]
    fn the_page_is_whole_and_runs_nothing() {
        let page = invoice().html(&Addressee {
            name: "<script>alert('{total}')</script>".to_owned(),
            zone: TimeZone::get("America/Sao_Paulo").expect("a zone"),
        });
        assert!(page.contains("&lt;script&gt;alert(&#39;{total}&#39;)"), "{page}");
        for told in [
            "72.00 BRL",
            "36.00",
            "(period 3)",
            "rows up to 77",
            "Issued on 1969-12-31 21:00 America/Sao_Paulo.",
        ] {
            assert!(page.contains(told), "{told} is not in {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    }
}
