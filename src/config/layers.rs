//! Laying one layer of settings over another.

use toml::{Table, Value};

use super::ConfigError;

/// What every variable that is a setting starts with.
const MARK: &str = "MALOTE_";

/// Parses a layer.
pub(super) fn parse(layer: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|source| ConfigError::Syntax {
        layer: layer.to_owned(),
        source: Box::new(source),
    })
}

/// Lays a parsed layer over the settings so far. Each of its settings must exist already.
pub(super) fn lay_over(settings: &mut Table, layer: Table, name: &str) -> Result<(), ConfigError> {
    for (section, keys) in layer {
        let Value::Table(keys) = keys else {
            return Err(unknown(name, &section));
        };
        for (key, value) in keys {
            let place =
                find(settings, &section, &key).ok_or_else(|| unknown(name, &format!("{section}.{key}")))?;
            *place = value;
        }
    }
    Ok(())
}

/// Lays the variables `MALOTE_<SECTION>__<KEY>` over the settings. Values take the type of the setting that they replace.
pub(super) fn lay_over_variables(
    settings: &mut Table,
    variables: &[(String, String)],
) -> Result<(), ConfigError> {
    for (variable, text) in variables {
        let Some((section, key)) = variable.strip_prefix(MARK).and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        let name = format!("{section}.{key}");
        let place = find(settings, &section, &key)
            .ok_or_else(|| unknown(&format!("the variable {variable}"), &name))?;
        *place = of_same_type(place, text).ok_or_else(|| ConfigError::Value {
            name,
            value: text.clone(),
            problem: format!("should be of type {}", place.type_str()),
        })?;
    }
    Ok(())
}

fn find<'a>(settings: &'a mut Table, section: &str, key: &str) -> Option<&'a mut Value> {
    settings.get_mut(section)?.as_table_mut()?.get_mut(key)
}

fn of_same_type(present: &Value, text: &str) -> Option<Value> {
    match present {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        _ => Some(Value::String(text.to_owned())),
    }
}

fn unknown(layer: &str, name: &str) -> ConfigError {
    ConfigError::Unknown {
        layer: layer.to_owned(),
        name: name.to_owned(),
    }
}
