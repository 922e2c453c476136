//! What Meta asks when a webhook is set up, and whether it signed what it sends.

use domain::signature::verify_meta;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use utoipa::IntoParams;
use warp::Reply as _;
use warp::http::StatusCode;
use warp::reply::Response;

use super::Credentials;
use super::refusal::Refusal;
use crate::api::error::{ApiError, Code};

/// What Meta asks when the webhook is set up.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Handshake {
    /// `subscribe`.
    #[serde(rename = "hub.mode")]
    mode: String,
    /// What was agreed on.
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
    /// What to answer.
    #[serde(rename = "hub.challenge")]
    challenge: String,
}

impl Credentials {
    /// Answers Meta's handshake: the challenge, if the token is ours.
    pub(crate) fn shake_hands(&self, asked: &Handshake) -> Response {
        let said = asked.verify_token.as_bytes();
        let tokens = self.verify_tokens();
        let ours = tokens
            .iter()
            .filter(|token| bool::from(said.ct_eq(token.expose().as_bytes())));
        if asked.mode == "subscribe" && ours.count() > 0 {
            warp::reply::with_status(asked.challenge.clone(), StatusCode::OK).into_response()
        } else {
            let detail =
                "hub.mode is not `subscribe` or hub.verify_token is not ours (meta.verify_token_file)";
            ApiError::new(Code::Forbidden, detail).into_response()
        }
    }

    /// Checks that Meta signed these bytes.
    ///
    /// # Errors
    /// When no secret of ours gives the signature.
    pub(crate) fn check_signature(&self, header: Option<&str>, body: &[u8]) -> Result<(), Refusal> {
        let secrets = self.app_secrets();
        let secrets: Vec<&[u8]> = secrets.iter().map(|secret| secret.expose().as_bytes()).collect();
        verify_meta(&secrets, header, body).map_err(Refusal::Meta)
    }
}

#[cfg(test)]
mod tests {
    use domain::signature::{SignatureError, sign_meta};

    use super::*;
    use crate::config::{self, SecretName, Secrets};

    fn credentials() -> Credentials {
        let secrets = Secrets::fixed(&[
            (SecretName::AppSecret, "new"),
            (SecretName::PreviousAppSecret, "old"),
            (SecretName::VerifyToken, "agreed"),
        ]);
        let settings = config::load(None, None).unwrap().meta;
        Credentials::read(&config::Meta { secrets, ..settings }).unwrap()
    }

    #[test]
    fn the_challenge_is_given_to_whoever_knows_the_token() {
        for (mode, token, expected) in [
            ("subscribe", "agreed", StatusCode::OK),
            ("subscribe", "agree", StatusCode::FORBIDDEN),
            ("subscribe", "agreed!", StatusCode::FORBIDDEN),
            ("subscribe", "", StatusCode::FORBIDDEN),
            ("unsubscribe", "agreed", StatusCode::FORBIDDEN),
        ] {
            let asked = Handshake {
                mode: mode.to_owned(),
                verify_token: token.to_owned(),
                challenge: "1158201444".to_owned(),
            };
            assert_eq!(
                credentials().shake_hands(&asked).status(),
                expected,
                "{mode} {token}"
            );
        }
    }

    #[test]
    fn the_current_and_the_previous_secret_count() {
        for (secret, expected) in [
            ("new", Ok(())),
            ("old", Ok(())),
            ("older", Err(Refusal::Meta(SignatureError::Mismatch))),
        ] {
            let header = sign_meta(secret.as_bytes(), b"{}");
            assert_eq!(credentials().check_signature(Some(&header), b"{}"), expected);
        }
        assert_eq!(
            credentials().check_signature(None, b"{}"),
            Err(Refusal::Meta(SignatureError::Missing))
        );
    }
}
