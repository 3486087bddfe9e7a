//! When something that was sent is what a case wants.

use serde_json::Value;

/// Every field that `want` names fits. A field wants an equal value, or is an object of conditions: `min`, `max`,
/// `not`, `any` (one of a list), `has` (a list with this item), `exists`.
pub(super) fn matches(want: &Value, given: &Value) -> bool {
    match want {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, want)| field(want, given.get(name).unwrap_or(&Value::Null))),
        _ => want == given,
    }
}

fn field(want: &Value, given: &Value) -> bool {
    let Value::Object(conditions) = want else {
        return want == given;
    };
    conditions
        .iter()
        .all(|(condition, value)| match condition.as_str() {
            "min" => given.as_f64() >= value.as_f64() && given.is_number(),
            "max" => given.as_f64() <= value.as_f64() && given.is_number(),
            "not" => given != value,
            "any" => value.as_array().is_some_and(|any| any.contains(given)),
            "has" => given.as_array().is_some_and(|items| items.contains(value)),
            "exists" => value.as_bool() == Some(!given.is_null()),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::matches;
    use serde_json::json;

    #[test]
    fn named_fields_must_fit_and_others_do_not_matter() {
        let given = json!({"type": "update", "metric": 96, "types": ["hello", "ihu"]});
        for good in [
            json!({}),
            json!({"metric": 96}),
            json!({"type": "update", "metric": {"min": 96, "max": 96}}),
            json!({"metric": {"not": 0}, "types": {"has": "ihu"}, "source": {"exists": false}}),
            json!({"metric": {"any": [1, 96]}}),
        ] {
            assert!(matches(&good, &given), "{good}");
        }
        for bad in [
            json!({"metric": 97}),
            json!({"metric": {"min": 97}}),
            json!({"metric": {"max": 95}}),
            json!({"seqno": {"max": 95}}),
            json!({"metric": {"not": 96}}),
            json!({"types": {"has": "update"}}),
            json!({"type": {"exists": false}}),
            json!({"metric": {"minimum": 1}}),
        ] {
            assert!(!matches(&bad, &given), "{bad}");
        }
    }
}
