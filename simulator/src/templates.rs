//! Which templates exist, and whether a send request fits one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::catalog::GraphError;
use crate::config::{Config, TemplateConfig};
use crate::messages::Category;

/// The templates of every WABA; all accounts share one list.
#[derive(Debug)]
pub(crate) struct Templates {
    list: Vec<TemplateConfig>,
    any: bool,
    /// Statuses that changed while it runs, by name.
    changed: Mutex<BTreeMap<String, String>>,
}

impl Templates {
    /// The built-in templates and the configured ones, which come first.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            list: config.templates.iter().cloned().chain(built_in()).collect(),
            any: config.any_template,
            changed: Mutex::default(),
        }
    }

    /// All of them, in the order in which they are listed.
    pub(crate) fn list(&self) -> &[TemplateConfig] {
        &self.list
    }

    /// Changes the status of a template, in every language.
    pub(crate) fn set_status(&self, name: &str, status: &str) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.insert(name.to_owned(), status.to_owned());
    }

    /// Gives the status of a template now, where it has changed.
    pub(crate) fn changed_status(&self, name: &str) -> Option<String> {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.get(name).cloned()
    }

    /// Checks name, language, status and number of body parameters; gives the category to be charged.
    pub(crate) fn check(
        &self,
        name: &str,
        language: &str,
        parameters: usize,
    ) -> Result<Category, GraphError> {
        let changed = self.changed_status(name);
        if let Some(status) = &changed {
            sendable(status)?;
        }
        let found = self
            .list
            .iter()
            .find(|known| known.name == name && known.language == language);
        let Some(template) = found else {
            if self.any {
                return Ok(category_by_name(name));
            }
            return Err(GraphError::new(
                132001,
                format!("template name ({name}) does not exist in {language}"),
            ));
        };
        if changed.is_none() {
            sendable(&template.status)?;
        }
        let expected = parameters_of(&template.body);
        if parameters == expected {
            return Ok(Category::of(&template.category));
        }
        Err(GraphError::new(
            132000,
            format!(
                "body: number of localizable_params ({parameters}) does not match the expected number of \
                 params ({expected})"
            ),
        ))
    }
}

fn sendable(status: &str) -> Result<(), GraphError> {
    match status {
        "APPROVED" => Ok(()),
        "PAUSED" => Err(GraphError::new(132015, "Template is paused due to low quality.")),
        _ => Err(GraphError::new(132016, "Template has been permanently disabled.")),
    }
}

fn category_by_name(name: &str) -> Category {
    if name.contains("market") || name.contains("promo") {
        Category::Marketing
    } else {
        Category::Utility
    }
}

/// How many `{{…}}` places the text has.
pub(crate) fn parameters_of(body: &str) -> usize {
    body.matches("{{").count()
}

fn built_in() -> [TemplateConfig; 4] {
    let template = |name: &str, category: &str, body: &str| TemplateConfig {
        name: name.to_owned(),
        language: "en_US".to_owned(),
        category: category.to_owned(),
        body: body.to_owned(),
        status: "APPROVED".to_owned(),
    };
    [
        template("order_update", "UTILITY", "Your order {{1}} is on its way."),
        template(
            "hello_world",
            "UTILITY",
            "Welcome and congratulations!! This message demonstrates your setup.",
        ),
        template("seasonal_offer", "MARKETING", "Hello {{1}}, our sale ends {{2}}."),
        template("login_code", "AUTHENTICATION", "{{1}} is your verification code."),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(any_template: bool, name: &str, parameters: usize) -> Result<Category, u32> {
        let templates = Templates::new(&Config {
            any_template,
            ..Config::for_tests()
        });
        templates
            .check(name, "en_US", parameters)
            .map_err(|error| error.code)
    }

    #[test]
    fn known_templates_are_checked_and_unknown_ones_only_when_closed() {
        assert_eq!(code(true, "order_update", 1), Ok(Category::Utility));
        assert_eq!(code(true, "order_update", 0), Err(132000));
        assert_eq!(code(true, "spring_promo", 9), Ok(Category::Marketing));
        assert_eq!(code(false, "spring_promo", 9), Err(132001));
    }
}
