//! A contact list as people have them: mostly right, with bad numbers, repetitions, people who asked to be left alone, and people whom
//! Meta refuses. The same seed makes the same list.

use std::fmt::Write as _;

/// A list and what is in it.
pub(super) struct Contacts {
    pub(super) csv: String,
    pub(super) rows: u64,
    pub(super) bad: u64,
    pub(super) duplicated: u64,
    pub(super) suppressed: Vec<String>,
    pub(super) refused: Vec<String>,
}

const FIRST_NAMES: [&str; 12] = [
    "Ana", "Bruno", "Carla", "Duarte", "Eva", "Filipe", "Gabriela", "Hugo", "Inês", "João", "Lara", "Miguel",
];
const LAST_NAMES: [&str; 10] = [
    "Almeida",
    "Baptista",
    "Costa",
    "\"Zé\" Dias",
    "Esteves",
    "Ferreira, Jr.",
    "Gomes",
    "Henriques",
    "Lopes",
    "Moura",
];

impl Contacts {
    /// Makes a list of `rows` rows.
    pub(super) fn make(seed: u64, rows: u64) -> Self {
        let mut dice = Dice(seed);
        let mut list = Self {
            csv: String::from("recipient,name,order\n"),
            rows,
            bad: 0,
            duplicated: 0,
            suppressed: Vec::new(),
            refused: Vec::new(),
        };
        let mut last = String::new();
        for number in 0..rows {
            let fresh = format!("+3519{:08}", number * 7 + 10_000_000);
            let recipient = match dice.roll(1_000) {
                0..10 => {
                    list.bad += 1;
                    ["12", "not a number", "", "+351 9x0"][dice.pick(4)].to_owned()
                }
                10..25 if !last.is_empty() => {
                    list.duplicated += 1;
                    last.clone()
                }
                25..35 => {
                    list.suppressed.push(fresh.clone());
                    fresh
                }
                35..45 => {
                    list.refused.push(fresh.clone());
                    fresh
                }
                _ => {
                    last.clone_from(&fresh);
                    fresh
                }
            };
            let name =
                format!("{} {}", FIRST_NAMES[dice.pick(12)], LAST_NAMES[dice.pick(10)]).replace('"', "\"\"");
            // Writing to a String does not fail.
            let _ = writeln!(list.csv, "{recipient},\"{name}\",{}", 1_000 + number);
        }
        list
    }

    /// People who are to get the message.
    pub(super) fn expected(&self) -> u64 {
        self.rows - self.bad - self.duplicated - self.suppressed.len() as u64
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn pick(&mut self, of: usize) -> usize {
        usize::try_from(self.roll(of as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_list_with_some_of_everything() {
        let list = Contacts::make(7, 5_000);
        assert_eq!(list.csv, Contacts::make(7, 5_000).csv);
        assert_ne!(list.csv, Contacts::make(8, 5_000).csv);
        assert_eq!(list.csv.lines().count(), 5_001);
        assert!(
            list.bad > 10 && list.duplicated > 10 && list.suppressed.len() > 10 && list.refused.len() > 10
        );
    }
}
