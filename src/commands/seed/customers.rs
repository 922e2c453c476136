//! Who the customers of a realistic installation are: few large ones, many small ones. The same numbers make the same customers.

/// Names that there are.
pub(super) const MOST: u64 = NAMES.len() as u64;

const NAMES: [&str; 16] = [
    "Mercados Atlântico",
    "Lojas Boa Vista",
    "Clínicas Santa Clara",
    "Banco do Vale",
    "Transportes Rápido",
    "Farmácias Central",
    "Escola Nova",
    "Hotel Miramar",
    "Óticas Lince",
    "Padaria do Bairro",
    "Oficina Silva",
    "Livraria Saudade",
    "Barbearia Ramos",
    "Pizzaria Fornalha",
    "Floricultura Jasmim",
    "Ateliê Moura",
];

/// How large a customer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// More than a tenth of all messages.
    Large,
    /// More than a twentieth.
    Medium,
    /// The others.
    Small,
}

/// A customer to make.
#[derive(Clone, Debug)]
pub(super) struct Customer {
    pub(super) name: &'static str,
    pub(super) size: Size,
    /// Messages of its finished campaigns.
    pub(super) messages: u64,
    /// Its part of the steady load, compared with those of the others.
    pub(super) weight: f64,
}

/// A plan that customers of a size are on.
pub(super) struct Plan {
    pub(super) code: &'static str,
    pub(super) fee_minor: i64,
    pub(super) allowance_units: i64,
    pub(super) overage_price_micros: i64,
}

impl Size {
    /// Campaigns that it has run.
    pub(super) const fn campaigns(self) -> u64 {
        match self {
            Self::Large => 4,
            Self::Medium => 2,
            Self::Small => 1,
        }
    }

    /// Messages a second of its number.
    pub(super) const fn messages_per_second(self) -> u32 {
        match self {
            Self::Large => 200,
            Self::Medium => 80,
            Self::Small => 20,
        }
    }

    /// What it pays for. Nobody is ever blocked: a load should go on.
    pub(super) const fn plan(self) -> Plan {
        let (code, fee_minor, allowance_units, overage_price_micros) = match self {
            Self::Large => ("staging-large", 89_900, 100_000, 30_000),
            Self::Medium => ("staging-medium", 19_900, 5_000, 40_000),
            Self::Small => ("staging-small", 2_900, 250, 55_000),
        };
        Plan {
            code,
            fee_minor,
            allowance_units,
            overage_price_micros,
        }
    }
}

/// Gives so many customers, who have sent so many messages between them: the second half as much as the first, the third a third.
pub(super) fn of(tenants: u64, messages: u64) -> Vec<Customer> {
    let names = NAMES.iter().take(usize::try_from(tenants).unwrap_or(NAMES.len()));
    let weights: Vec<f64> = (1..=tenants).map(|rank| 1.0 / rank as f64).collect();
    let whole: f64 = weights.iter().sum();
    names
        .zip(weights)
        .map(|(name, weight)| {
            let share = weight / whole;
            Customer {
                name,
                size: size_of(share),
                messages: (messages as f64 * share).round() as u64,
                weight,
            }
        })
        .collect()
}

fn size_of(share: f64) -> Size {
    match share {
        share if share > 0.1 => Size::Large,
        share if share > 0.05 => Size::Medium,
        _ => Size::Small,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_customers_of_every_size_and_their_messages_are_those_asked_for() {
        let customers = of(12, 20_000);
        for size in [Size::Large, Size::Medium, Size::Small] {
            assert!(
                customers.iter().any(|customer| customer.size == size),
                "nobody is {size:?}"
            );
        }
        let sent: u64 = customers.iter().map(|customer| customer.messages).sum();
        assert!(sent.abs_diff(20_000) <= 12, "{sent}");
        assert!(customers.is_sorted_by(|one, next| one.messages >= next.messages));
    }
}
