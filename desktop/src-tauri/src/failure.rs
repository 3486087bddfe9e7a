//! What the page is told when something fails.

use osier_control::client::ClientError;
use serde::Serialize;

/// `Failure` of the page's `src/api/types.ts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// Of a refusal: the API's code, and what to do.
    pub(crate) code: Option<String>,
    pub(crate) fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    NotRunning,
    NoPermission,
    Refused,
    Timeout,
    Broken,
    Nonsense,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        let (kind, code, fix) = match error {
            ClientError::NotRunning { .. } => (Kind::NotRunning, None, None),
            ClientError::PermissionDenied { .. } => (Kind::NoPermission, None, None),
            ClientError::Refused { code, fix, .. } => (Kind::Refused, Some(code), fix),
            ClientError::Timeout(_) => (Kind::Timeout, None, None),
            ClientError::Broken(_) => (Kind::Broken, None, None),
            ClientError::Nonsense(_) => (Kind::Nonsense, None, None),
        };
        Self {
            kind,
            message,
            code,
            fix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_their_code_and_their_way_out() {
        let failure = Failure::from(ClientError::Refused {
            status: 409,
            code: "not-a-service".into(),
            message: "no".into(),
            fix: Some("start it so".into()),
        });
        assert_eq!(
            serde_json::to_value(failure).unwrap(),
            serde_json::json!({
                "kind": "refused", "message": "no", "code": "not-a-service", "fix": "start it so"
            })
        );
    }

    #[test]
    fn permission_and_absence_are_told_apart() {
        let socket = "/x".into();
        let kind = |error: ClientError| Failure::from(error).kind;
        assert_eq!(kind(ClientError::NotRunning { socket }), Kind::NotRunning);
        let socket = "/x".into();
        assert_eq!(kind(ClientError::PermissionDenied { socket }), Kind::NoPermission);
        assert_eq!(kind(ClientError::Nonsense("x".into())), Kind::Nonsense);
    }
}
