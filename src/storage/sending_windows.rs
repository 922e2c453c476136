//! Sending windows in their column: `{start, end, days, zone}`.

use domain::sending_window::{Day, SendingWindow, WindowZone};
use serde_json::{Value, json};

use super::StorageError;

/// Writes a window.
pub(super) fn write(window: &SendingWindow) -> Value {
    let days: Vec<&str> = window.days().into_iter().map(Day::as_str).collect();
    json!({"start": window.start(), "end": window.end(), "days": days, "zone": window.zone.as_str()})
}

/// Reads a window, if there is one.
pub(super) fn read(stored: Option<&Value>) -> Result<Option<SendingWindow>, StorageError> {
    let Some(stored) = stored else { return Ok(None) };
    let text = |field: &str| stored[field].as_str().unwrap_or_default();
    let zone: WindowZone = text("zone").parse().map_err(StorageError::nonsense)?;
    let days = stored["days"].as_array().map(Vec::as_slice).unwrap_or_default();
    let days: Vec<&str> = days.iter().filter_map(Value::as_str).collect();
    SendingWindow::new(text("start"), text("end"), Some(&days), zone)
        .map(Some)
        .map_err(StorageError::nonsense)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let window = SendingWindow::new("08:30", "24:00", Some(&["mon", "sun"]), WindowZone::Tenant).unwrap();
        assert_eq!(read(Some(&write(&window))).unwrap(), Some(window));
        assert_eq!(read(None).unwrap(), None);
        assert!(read(Some(&json!({"start": "x"}))).is_err());
    }
}
