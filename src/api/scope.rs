//! Scopes: what an API key may be used for. A route names what it works on; whether it reads or acts follows from its method.

use warp::http::Method;

/// What a route works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Numbers and templates.
    Senders,
    /// Campaigns and their recipients.
    Campaigns,
    /// Single messages, timelines, dead letters.
    Messages,
    /// The suppression list.
    Suppressions,
    /// Usage, invoices, ledger, plan.
    Billing,
}

impl Scope {
    /// Every scope.
    pub(super) const ALL: [Self; 5] = [
        Self::Senders,
        Self::Campaigns,
        Self::Messages,
        Self::Suppressions,
        Self::Billing,
    ];

    /// Gives what both of its names begin with. A key that has this alone has both: keys were made so once, and it is short.
    pub(super) const fn both(self) -> &'static str {
        match self {
            Self::Senders => "senders",
            Self::Campaigns => "campaigns",
            Self::Messages => "messages",
            Self::Suppressions => "suppressions",
            Self::Billing => "billing",
        }
    }

    /// Gives the name that lets a key read, and the one that lets it act.
    pub(super) const fn names(self) -> [&'static str; 2] {
        match self {
            Self::Senders => ["senders:read", "senders:write"],
            Self::Campaigns => ["campaigns:read", "campaigns:write"],
            Self::Messages => ["messages:read", "messages:send"],
            Self::Suppressions => ["suppressions:read", "suppressions:write"],
            Self::Billing => ["billing:read", "billing:write"],
        }
    }

    /// Gives the name that a key needs for a method.
    pub(super) fn needed(self, method: &Method) -> &'static str {
        let [read, act] = self.names();
        if method == Method::GET { read } else { act }
    }

    /// Tells whether a key with these scopes may use a method.
    pub(super) fn is_granted(self, scopes: &[String], method: &Method) -> bool {
        let needed = self.needed(method);
        scopes.iter().any(|given| given == needed || given == self.both())
    }
}

/// Every name that a key may have, in the order of `Scope::ALL`.
pub(super) fn every_name() -> impl Iterator<Item = &'static str> {
    Scope::ALL.into_iter().flat_map(Scope::names)
}

/// Gives the full names of the scopes that are asked for, or the first that does not exist.
pub(super) fn full_names(asked: &[String]) -> Result<Vec<String>, String> {
    let is_both = |asked: &str| Scope::ALL.iter().any(|scope| scope.both() == asked);
    let known = |asked: &&String| every_name().any(|name| name == asked.as_str()) || is_both(asked);
    if let Some(unknown) = asked.iter().find(|asked| !known(asked)) {
        return Err(unknown.clone());
    }
    let both_of = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
    let is_asked = |name: &&str| asked.iter().any(|asked| asked == name || *asked == both_of(name));
    Ok(every_name().filter(is_asked).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn reading_and_acting_are_apart_and_the_short_name_is_both() {
        let (get, post) = (Method::GET, Method::POST);
        let read = list(&["messages:read"]);
        assert!(Scope::Messages.is_granted(&read, &get));
        assert!(!Scope::Messages.is_granted(&read, &post));
        assert!(!Scope::Campaigns.is_granted(&read, &get));
        assert!(Scope::Messages.is_granted(&list(&["messages"]), &post));
        assert_eq!(Scope::Messages.needed(&post), "messages:send");
        assert_eq!(Scope::Billing.needed(&Method::DELETE), "billing:write");
    }

    #[test]
    fn names_are_written_out_and_unknown_ones_named() {
        let asked = list(&["billing:read", "campaigns", "billing:read"]);
        assert_eq!(
            full_names(&asked).unwrap(),
            ["campaigns:read", "campaigns:write", "billing:read"]
        );
        assert_eq!(full_names(&list(&["campaign"])), Err("campaign".to_owned()));
        assert_eq!(every_name().count(), 10);
    }
}
