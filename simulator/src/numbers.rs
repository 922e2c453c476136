//! The phone numbers that send: their accounts and their pace.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Config, NumberConfig};
use crate::gcra::{Gcra, Quota};

/// One sending number.
#[derive(Debug)]
pub(crate) struct Number {
    /// Who it is.
    pub(crate) config: Arc<NumberConfig>,
    /// Messages per second; 0 sets no limit.
    pub(crate) rate: u32,
    /// Meta restricts it: every message is refused with 131048.
    pub(crate) restricted: bool,
    bucket: Gcra,
}

/// All numbers; unknown ones come into being unless a list was configured.
#[derive(Debug)]
pub(crate) struct Numbers {
    list: Vec<Number>,
    by_id: HashMap<String, u32>,
    open: bool,
    waba_id: String,
    default_rate: u32,
}

impl Number {
    /// Sets the messages per second, from now on and without debts of the old rate.
    pub(crate) fn set_rate(&mut self, per_second: u32) {
        (self.rate, self.bucket) = (per_second, Gcra::default());
    }

    /// Takes one message of the number's rate, if there is one.
    pub(crate) fn take(&mut self, now_ns: u64) -> bool {
        self.bucket.take(now_ns, Quota::per_second(self.rate))
    }
}

impl Numbers {
    /// The configured numbers.
    pub(crate) fn new(config: &Config) -> Self {
        let mut numbers = Self {
            list: Vec::new(),
            by_id: HashMap::new(),
            open: config.numbers.is_empty(),
            waba_id: config.waba_id.clone(),
            default_rate: config.number_rate,
        };
        for number in &config.numbers {
            numbers.put(number.clone());
        }
        numbers
    }

    /// Finds a number by id, or creates it when any number may exist.
    pub(crate) fn find(&mut self, id: &str) -> Option<u32> {
        if let Some(&index) = self.by_id.get(id) {
            return Some(index);
        }
        let plausible = (1..=64).contains(&id.len());
        (self.open && plausible).then(|| self.put(self.invented(id)))
    }

    /// Adds a number, or changes its account, and gives its place.
    pub(crate) fn put(&mut self, config: NumberConfig) -> u32 {
        if let Some(&index) = self.by_id.get(&config.id) {
            self.list[index as usize].config = Arc::new(config);
            return index;
        }
        let index = self.list.len() as u32;
        self.by_id.insert(config.id.clone(), index);
        self.list.push(Number {
            config: Arc::new(config),
            rate: self.default_rate,
            restricted: false,
            bucket: Gcra::default(),
        });
        index
    }

    /// The number as it would be if nobody configured it.
    pub(crate) fn invented(&self, id: &str) -> NumberConfig {
        let digits: String = id
            .chars()
            .rev()
            .take(7)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        NumberConfig {
            id: id.to_owned(),
            waba_id: self.waba_id.clone(),
            display_phone_number: format!("1555{digits:0>7}"),
        }
    }

    /// The number at a place that [`Self::find`] gave.
    pub(crate) fn at(&self, index: u32) -> &Number {
        &self.list[index as usize]
    }

    /// The number at a place that [`Self::find`] gave, to change.
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Number {
        &mut self.list[index as usize]
    }

    /// Says whether an account exists.
    pub(crate) fn has_waba(&self, waba_id: &str) -> bool {
        self.open || waba_id == self.waba_id || self.of_waba(waba_id).next().is_some()
    }

    /// The numbers of one account.
    pub(crate) fn of_waba(&self, waba_id: &str) -> impl Iterator<Item = &Number> {
        self.list
            .iter()
            .filter(move |number| number.config.waba_id == waba_id)
    }
}
