//! Why a server was not reached, and what to do about it.

use std::error::Error as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::OpenAi;
use crate::{CallError, Charge, Class};

impl OpenAi {
    /// Nothing came back: what that means depends on how far the request got.
    pub(super) fn not_answered(&self, error: &reqwest::Error, patience: Duration) -> CallError {
        let causes = causes(error);
        let host = self.url.host_str().unwrap_or_default();
        let is_https = self.url.scheme() == "https";
        let other_protocol = !is_https && causes.contains("invalid HTTP version");
        if error.is_connect() || other_protocol {
            let message = format!("no connection to `{host}`: {causes}");
            return CallError {
                hint: Some(hint(&causes, is_https).to_owned()),
                ..self.failed(Class::Unreachable, Charge::Nothing, &message)
            };
        }
        if error.is_builder() {
            return self.failed(Class::BadRequest, Charge::Nothing, &format!("the request cannot be sent: {causes}"));
        }
        // Where no connection was ever opened, nothing has been sent.
        if error.is_timeout() && !self.connected.load(Relaxed) {
            let message = format!("no connection to `{host}` within {patience:?}");
            return self.failed(Class::Unreachable, Charge::Nothing, &message);
        }
        if error.is_timeout() {
            return self.failed(Class::Timeout, Charge::Unknown, &format!("no response from `{host}` within {patience:?}"));
        }
        if is_untouched(&causes) {
            return self.failed(Class::Overloaded, Charge::Nothing, &format!("`{host}` would not take the request: {causes}"));
        }
        self.failed(Class::Timeout, Charge::Unknown, &format!("the connection to `{host}` broke before a response came: {causes}"))
    }
}

/// Why nothing was asked: the cause, in words that can be searched, decides what to look at.
fn hint(causes: &str, is_https: bool) -> &'static str {
    let causes = causes.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| causes.contains(word));
    if says(&["proxy", "tunnel", "407"]) {
        "a proxy stands in between: look at `HTTPS_PROXY` and `HTTP_PROXY`, which hold its address, name and password, and at `NO_PROXY`"
    } else if says(&["invalid peer certificate", "certificate verify failed", "unknownissuer"]) {
        "this machine does not trust the server's certificate: `SSL_CERT_FILE` can name a file with the certificate of those who signed it"
    } else if is_https && says(&["corrupt message", "invalidcontenttype", "wrong version number", "handshake eof"]) {
        "the server does not speak TLS: write `http://` in `base_url`"
    } else if !is_https && says(&["invalid http version"]) {
        "the server speaks TLS: write `https://` in `base_url`"
    } else if says(&["failed to lookup address", "dns error", "name or service not known", "no such host"]) {
        "no server has the name in `base_url`, or this machine cannot look it up"
    } else {
        "nothing listens there: start the server, or look at the address in `base_url`"
    }
}

/// The causes beneath an error, without its URL, which may hold a secret.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // The layers of the HTTP client say no more than that it was they.
        let is_layer = cause.is::<reqwest::Error>() || text.starts_with("client error (");
        if !is_layer && !causes.iter().any(|known| known.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() { "the HTTP client gives no reason".to_owned() } else { causes.join(": ") }
}

/// Whether an HTTP/2 server has said that it has not looked at a request, in the two ways and the words of h2.
pub(super) fn is_untouched(causes: &str) -> bool {
    ["stream error received: refused stream", "connection error received: not a result of an error"]
        .iter()
        .any(|words| causes.contains(words))
}
