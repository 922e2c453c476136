//! Text in files that are opened with a spreadsheet.

/// Keeps a spreadsheet from taking a text for a formula: an apostrophe goes before it. A phone number is none and stays as it is.
pub(crate) fn harmless(text: &str) -> String {
    let is_phone = text
        .strip_prefix('+')
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_phone {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}
