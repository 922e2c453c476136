//! What libraries say when something fails: the error alone often hides why.

/// Gives an error with all that caused it, the nearest first.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let all: Vec<String> = anyhow::Chain::new(error).map(ToString::to_string).collect();
    all.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told() {
        let refused = std::io::Error::other(std::io::Error::other("refused"));
        assert_eq!(causes(&refused), "refused");
        let parsed: Result<toml::Table, _> = toml::from_str("=");
        assert!(causes(&parsed.unwrap_err()).contains("TOML parse error"));
        let deep = StoreLike(std::io::Error::other("no route"));
        assert_eq!(causes(&deep), "the store is away: no route");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the store is away")]
    struct StoreLike(#[source] std::io::Error);
}
