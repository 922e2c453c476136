//! Which time zone a recipient is probably in, told from their number: the country calling code, and the area code where a country
//! has several zones and numbers by area. A number that reveals nothing more, such as most mobile ones, is taken to be in its
//! country's most populous zone. A guess for a sending window, never a fact about a person.
//!
//! Sources: country codes, ITU-T E.164 list of assigned codes (Operational Bulletin annex, 2024); area codes, NANPA (+1), Anatel's
//! Plano Geral de Códigos Nacionais (+55), Mexico's IFT Plan Nacional de Numeración (+52), ACMA's numbering plan (+61), Russia's ABC
//! codes and Kazakhstan's (+7), Indonesia's FTP 2000 (+62), Spain's PNNT (+34), Portugal's PNN (+351); zones and their rules, IANA tz.

mod areas;
mod countries;

use areas::{AUSTRALIA, Area, BRAZIL, INDONESIA, MEXICO, NORTH_AMERICA, PORTUGAL, RUSSIA, SPAIN};
use countries::COUNTRIES;

/// Digits of a number that are enough to tell its zone: a calling code and the longest area code that is looked at.
pub const TELLING_DIGITS: usize = 7;

/// Gives the IANA zone of a recipient in canonical spelling (`+` and digits, or a user id), or of a phone number's beginning of at
/// least [`TELLING_DIGITS`] digits. None for what belongs to no country.
pub fn zone_of(canonical: &str) -> Option<&'static str> {
    match canonical.strip_prefix('+') {
        Some(digits) => zone_of_digits(digits),
        None => zone_of_country(canonical.split('.').next().unwrap_or_default()),
    }
}

/// A business-scoped user id begins with its country.
fn zone_of_country(country: &str) -> Option<&'static str> {
    let found = COUNTRIES.iter().find(|(code, ..)| *code == country);
    found.map(|(.., zone)| *zone)
}

fn zone_of_digits(digits: &str) -> Option<&'static str> {
    let (calling_code, zone) = (1..=3).find_map(|length| {
        let code = number(digits.get(..length)?)?;
        let country = COUNTRIES
            .iter()
            .find(|(_, calling_code, _)| *calling_code == code);
        country.map(|(_, calling_code, zone)| (*calling_code, *zone))
    })?;
    let length = calling_code.to_string().len();
    let national = digits.get(length..).unwrap_or_default();
    Some(area_of(calling_code, national).unwrap_or(zone))
}

fn area_of(calling_code: u16, national: &str) -> Option<&'static str> {
    match calling_code {
        1 => find(NORTH_AMERICA, national),
        7 => find(RUSSIA, national),
        34 => find(SPAIN, national),
        // Numbers of mobile phones had a 1 before the area code until 2019, and some lists still have it.
        52 => find(
            MEXICO,
            national
                .strip_prefix('1')
                .filter(|rest| rest.len() >= 3)
                .unwrap_or(national),
        ),
        55 => find(BRAZIL, national),
        61 => find(AUSTRALIA, national),
        62 => find(INDONESIA, national),
        351 => find(PORTUGAL, national),
        _ => None,
    }
}

/// Finds the longest area code with which the number begins.
fn find(areas: &[Area], national: &str) -> Option<&'static str> {
    (1..=4).rev().find_map(|length| {
        let code = national.get(..length)?;
        let area = areas.iter().find(|(_, codes)| codes.contains(&code));
        area.map(|(zone, _)| *zone)
    })
}

fn number(digits: &str) -> Option<u16> {
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn every_zone_is_in_the_database() {
        let areas = [
            NORTH_AMERICA,
            RUSSIA,
            SPAIN,
            MEXICO,
            BRAZIL,
            AUSTRALIA,
            INDONESIA,
            PORTUGAL,
        ];
        let of_areas = areas.into_iter().flatten().map(|(zone, _)| *zone);
        let of_countries = COUNTRIES.iter().map(|(.., zone)| *zone);
        for zone in of_areas.chain(of_countries) {
            assert!(TimeZone::get(zone).is_ok(), "{zone}");
        }
    }

    #[test]
    fn no_area_code_is_in_two_zones_and_no_country_twice() {
        for areas in [
            NORTH_AMERICA,
            RUSSIA,
            SPAIN,
            MEXICO,
            BRAZIL,
            AUSTRALIA,
            INDONESIA,
            PORTUGAL,
        ] {
            let mut codes: Vec<&str> = areas
                .iter()
                .flat_map(|(_, codes)| codes.iter().copied())
                .collect();
            let all = codes.len();
            codes.sort_unstable();
            let repeated: Vec<_> = codes.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(repeated.is_empty(), "{repeated:?}");
            codes.dedup();
            assert_eq!(codes.len(), all);
        }
        let mut countries: Vec<&str> = COUNTRIES.iter().map(|(country, ..)| *country).collect();
        countries.sort_unstable();
        let repeated: Vec<_> = countries.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(repeated.is_empty(), "{repeated:?}");
        assert!(COUNTRIES.len() > 230, "{}", COUNTRIES.len());
    }

    #[test]
    fn no_calling_code_begins_another() {
        let codes: Vec<String> = COUNTRIES.iter().map(|(_, code, _)| code.to_string()).collect();
        for code in &codes {
            let longer = codes
                .iter()
                .find(|other| *other != code && other.starts_with(code.as_str()));
            assert_eq!(longer, None, "begins with {code}");
        }
    }

    #[test]
    fn well_known_numbers_are_where_they_are() {
        let known = [
            ("+12125550123", "America/New_York"),
            ("+13105550123", "America/Los_Angeles"),
            ("+13125550123", "America/Chicago"),
            ("+16025550123", "America/Phoenix"),
            ("+18085550123", "Pacific/Honolulu"),
            ("+17095550123", "America/St_Johns"),
            ("+18765550123", "America/Jamaica"),
            ("+18005550123", "America/New_York"),
            ("+5511999990000", "America/Sao_Paulo"),
            ("+5592999990000", "America/Manaus"),
            ("+5568999990000", "America/Rio_Branco"),
            ("+5585999990000", "America/Fortaleza"),
            ("+525555550000", "America/Mexico_City"),
            ("+526645550000", "America/Tijuana"),
            ("+5216645550000", "America/Tijuana"),
            ("+529985550000", "America/Cancun"),
            ("+61893210000", "Australia/Perth"),
            ("+61889210000", "Australia/Darwin"),
            ("+61882100000", "Australia/Adelaide"),
            ("+61412345678", "Australia/Sydney"),
            ("+74951234567", "Europe/Moscow"),
            ("+79161234567", "Europe/Moscow"),
            ("+74232345678", "Asia/Vladivostok"),
            ("+77011234567", "Asia/Almaty"),
            ("+62361123456", "Asia/Makassar"),
            ("+6281234567890", "Asia/Jakarta"),
            ("+62967123456", "Asia/Jayapura"),
            ("+351910000000", "Europe/Lisbon"),
            ("+351296000000", "Atlantic/Azores"),
            ("+34928000000", "Atlantic/Canary"),
            ("+34600000000", "Europe/Madrid"),
            ("+447700900123", "Europe/London"),
            ("+4915112345678", "Europe/Berlin"),
            ("+919876543210", "Asia/Kolkata"),
            ("+8613812345678", "Asia/Shanghai"),
            ("+819012345678", "Asia/Tokyo"),
            ("+9779812345678", "Asia/Kathmandu"),
            ("+2348012345678", "Africa/Lagos"),
            ("US.13491208655302741918", "America/New_York"),
            ("BR.ENT.abc", "America/Sao_Paulo"),
        ];
        for (recipient, zone) in known {
            assert_eq!(zone_of(recipient), Some(zone), "{recipient}");
        }
        assert_eq!(zone_of("+99999999999"), None);
        assert_eq!(zone_of("ZZ.1"), None);
    }

    #[test]
    fn the_beginning_of_a_number_is_enough() {
        for number in [
            "+12125550123",
            "+5592999990000",
            "+5216645550000",
            "+61893210000",
            "+351296000000",
        ] {
            assert_eq!(zone_of(&number[..=TELLING_DIGITS]), zone_of(number), "{number}");
        }
    }
}
