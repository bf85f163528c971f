//! Contenders with changed settings, to tune them.

use anyhow::Context;
use serde_json::Value;

use super::{Contender, SIGNALBOX};

/// Returns a contender with changed settings, given as `contender:name=value,…`, or as `name=value,…` for
/// Signalbox.
///
/// # Errors
/// Fails on contenders that are not among `contenders`, on settings that they do not have or have more than once,
/// and on values of the wrong type.
pub(crate) fn variant(contenders: &[Contender], text: &str) -> anyhow::Result<Contender> {
    let (name, settings) = text.split_once(':').unwrap_or((SIGNALBOX, text));
    let base = contenders.iter().find(|contender| contender.name == name);
    let base = base.with_context(|| format!("there is no contender \"{name}\""))?;
    let mut algorithm = serde_json::to_value(&base.algorithm)?;
    for setting in settings.split(',') {
        let (setting, value) =
            setting.split_once('=').with_context(|| format!("\"{setting}\" is not name=value"))?;
        let mut found = Vec::new();
        find(&mut algorithm, setting, &mut found);
        let [known] = &mut found[..] else {
            anyhow::bail!("{name} has {} settings \"{setting}\"", found.len());
        };
        **known = serde_json::from_str(value).with_context(|| format!("\"{value}\" is not a valid value"))?;
    }
    let algorithm = serde_json::from_value(algorithm).context(text.to_owned())?;
    Ok(Contender { name: text.to_owned(), algorithm, ..base.clone() })
}

/// Returns whether this is the name of a contender with changed settings.
pub(crate) fn is_variant(name: &str) -> bool {
    name.contains('=')
}

/// Finds all values with the key `name`.
fn find<'a>(value: &'a mut Value, name: &str, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == name { found.push(value) } else { find(value, name, found) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| find(item, name, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use signalbox_modelsim::profiles;

    use super::*;
    use crate::policies::{Algorithm, contenders};

    #[test]
    fn setting_is_changed_wherever_the_contender_has_it() {
        let contenders = contenders(&[profiles::find("h100-8b").unwrap()]);
        let changed = |text: &str| format!("{:?}", variant(&contenders, text).unwrap().algorithm);
        assert!(changed("go-affinity:max_penalty_ms=500").contains("max_penalty_ms: 500.0"));
        assert!(changed("dynamo:prefill_load_scale=4").contains("prefill_load_scale: 4.0"));
        let own = variant(&contenders, "service_ms=1234").unwrap();
        assert!(matches!(own.algorithm, Algorithm::Signalbox(_)), "{own:?}");
        assert!(is_variant(&own.name) && !contenders.iter().any(|contender| is_variant(&contender.name)));
    }

    #[test]
    fn unknown_contenders_settings_and_values_are_errors() {
        let contenders = contenders(&[profiles::find("h100-8b").unwrap()]);
        for text in ["nobody:a=1", "smg:a=1", "smg:cache_threshold", "smg:cache_threshold=x"] {
            assert!(variant(&contenders, text).is_err(), "{text}");
        }
    }
}
