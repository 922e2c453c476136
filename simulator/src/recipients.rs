//! Who was written to, how often, and how often with success.

use std::collections::HashMap;
use std::sync::Arc;

/// A recipient's place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecipientIndex(pub(crate) u32);

/// One recipient: a few bytes beside its name.
#[derive(Debug)]
pub(crate) struct Recipient {
    /// The digits of a phone number, or a business-scoped user id.
    pub(crate) name: Arc<str>,
    /// Messages accepted.
    pub(crate) accepted: u32,
    /// Calls that reached the fault plan; the attempt in its decisions.
    pub(crate) attempts: u32,
}

/// All recipients, found by name or by index.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    list: Vec<Recipient>,
    by_name: HashMap<Arc<str>, RecipientIndex>,
}

impl Recipients {
    /// Finds the recipient, or lists a new one.
    pub(crate) fn intern(&mut self, name: &str) -> RecipientIndex {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let (name, index) = (Arc::<str>::from(name), RecipientIndex(self.list.len() as u32));
        self.by_name.insert(Arc::clone(&name), index);
        self.list.push(Recipient {
            name,
            accepted: 0,
            attempts: 0,
        });
        index
    }

    /// The recipient at a place that [`Self::intern`] gave.
    pub(crate) fn at(&self, index: RecipientIndex) -> &Recipient {
        &self.list[index.0 as usize]
    }

    /// The recipient at a place that [`Self::intern`] gave, to count on.
    pub(crate) fn at_mut(&mut self, index: RecipientIndex) -> &mut Recipient {
        &mut self.list[index.0 as usize]
    }

    /// The recipient of that name, if it was ever written to.
    pub(crate) fn find(&self, name: &str) -> Option<&Recipient> {
        self.by_name.get(name).map(|&index| self.at(index))
    }

    /// All of them, in the order of their first call.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.list.iter()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

/// The name a recipient is known by: digits of a phone number; a business-scoped id as it is.
pub(crate) fn name_of(recipient: &str) -> String {
    if is_user_id(recipient) {
        recipient.to_owned()
    } else {
        digits_of(recipient)
    }
}

/// Says whether this is a business-scoped user id: country, dot, letters and digits (`US.1349`, `US.ENT.1349`).
pub(crate) fn is_user_id(recipient: &str) -> bool {
    let Some((country, id)) = recipient.split_once('.') else {
        return false;
    };
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The digits alone; Meta ignores `+`, spaces, dashes and brackets.
pub(crate) fn digits_of(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_compare_by_digits_and_user_ids_as_they_are() {
        assert_eq!(name_of("+1 (650) 555-1234"), "16505551234");
        assert_eq!(name_of("US.13491208655302741918"), "US.13491208655302741918");
        assert!(is_user_id("US.ENT.abc1"));
        assert!(!is_user_id("us.1") && !is_user_id("US.") && !is_user_id("16505551234"));
    }
}
