//! What a tenant gets in writing: an invoice as JSON, CSV or a page to print, and the ledger's rows of a period with all that proves
//! them. The API and the command line write the same.

mod invoice;
mod ledger;

use std::str::FromStr;

pub use invoice::{InvoiceForm, InvoiceView};
pub use ledger::{LedgerForm, LedgerPages};

/// Nobody writes in this form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("format: {0}")]
pub struct UnknownForm(&'static str);

/// Finds a form by its name.
fn by_name<T: Copy>(name: &str, forms: &[(&str, T)], known: &'static str) -> Result<T, UnknownForm> {
    let form = forms.iter().find(|(known, _)| *known == name);
    form.map(|(_, form)| *form).ok_or(UnknownForm(known))
}

impl FromStr for InvoiceForm {
    type Err = UnknownForm;

    fn from_str(name: &str) -> Result<Self, UnknownForm> {
        let forms = [("json", Self::Json), ("csv", Self::Csv), ("html", Self::Html)];
        by_name(name, &forms, "json, csv or html")
    }
}

impl FromStr for LedgerForm {
    type Err = UnknownForm;

    fn from_str(name: &str) -> Result<Self, UnknownForm> {
        by_name(
            name,
            &[("csv", Self::Csv), ("ndjson", Self::Ndjson)],
            "csv or ndjson",
        )
    }
}
