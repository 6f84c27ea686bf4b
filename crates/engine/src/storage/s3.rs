//! S3: how a bucket is opened, and what its refusals mean.
//!
//! The store takes the usual `AWS_*` variables, and what they leave open from the profile ([`super::profile`]). What it answers
//! when something is wrong is XML for machines; here it becomes the name of the variable or the permission that is missing.

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};
use promptmill_core::{Error, Result};
use promptmill_llm::goes_out_in_clear;

use super::chain;
use super::credentials::{Identity, NO_CONTAINER, NO_KEYS, NO_TOKEN, is_set_true, keys_hint, variable};
use super::whole::WholeResponses;

/// For one exchange, body included: a file of results comes whole when it is rewritten, also over a slow line.
const TIMEOUT: &str = "180 seconds";
/// For a connection to come about.
const CONNECT_TIMEOUT: &str = "5 seconds";
/// How long a request is tried again after server errors, `SlowDown` and connection faults: an outage of a minute is
/// sat out, and credentials do not expire meanwhile.
const RETRY_FOR: Duration = Duration::from_secs(120);
/// As often as fits into that time.
const MOST_RETRIES: usize = 30;

/// The stores of this process, one a bucket: connections are shared, and credentials fetched once.
static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);

/// The store of a bucket, by the `AWS_*` variables of the environment.
pub(super) fn open(bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    if let Some(store) = stores.get(bucket) {
        return Ok(Arc::clone(store));
    }
    let identity = Identity::of_environment()?;
    let mut builder = AmazonS3Builder::new().with_retry(patience()).with_http_connector(WholeResponses::default()).with_bucket_name(bucket);
    for (key, value) in client() {
        builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
    }
    let is_said = |name: &str, value: &str| name.starts_with("AWS_") && !value.is_empty() && identity.is_meant(name);
    for (name, value) in env::vars().filter(|(name, value)| is_said(name, value)) {
        // What other tools call it.
        let name = if name == "AWS_EC2_METADATA_SERVICE_ENDPOINT" { "AWS_METADATA_ENDPOINT".to_owned() } else { name };
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    let of_profile = identity.endpoint().filter(|_| endpoint().is_none());
    if let Some(endpoint) = &of_profile {
        builder = builder.with_endpoint(endpoint);
    }
    builder = identity.add_to(builder);
    if let Some(endpoint) = endpoint().or(of_profile) {
        if goes_out_in_clear(&endpoint) && !is_set_true("AWS_ALLOW_HTTP") {
            return Err(Error::failed(format!("the endpoint `{endpoint}` would send data and credentials in clear"))
                .hint("use `https://` in `AWS_ENDPOINT_URL`; or allow it with `export AWS_ALLOW_HTTP=true`"));
        }
        builder = builder.with_allow_http(endpoint.starts_with("http://"));
    }
    let store = identity.hurried(builder).and_then(AmazonS3Builder::build).map_err(|error| {
        Error::failed(format!("bucket `{bucket}` cannot be opened")).hint("check the AWS_* variables of the environment").because(error)
    })?;
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    stores.insert(bucket.to_owned(), Arc::clone(&store));
    Ok(store)
}

/// How long and how often a request is tried again, in any cloud.
pub(super) fn patience() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(10), base: 2.0 },
        max_retries: MOST_RETRIES,
        retry_timeout: RETRY_FOR,
    }
}

/// How connections are made, in any cloud.
pub(super) fn client() -> [(ClientConfigKey, &'static str); 2] {
    [(ClientConfigKey::Timeout, TIMEOUT), (ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT)]
}

/// The endpoint that the environment names, if it names one.
fn endpoint() -> Option<String> {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| variable(name))
}

/// What somebody was about to do; each needs a permission of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read,
    Write,
    List,
    Remove,
}

impl Action {
    /// In the words of a message: "cannot be …".
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "written",
            Self::List => "listed",
            Self::Remove => "removed",
        }
    }

    fn permission(self) -> &'static str {
        match self {
            Self::Read => "s3:GetObject",
            Self::Write => "s3:PutObject",
            Self::List => "s3:ListBucket",
            Self::Remove => "s3:DeleteObject",
        }
    }
}

/// What a bucket's refusal means, and what to do about it.
pub(crate) fn hint(bucket: &str, action: Action, error: &(dyn std::error::Error + 'static)) -> String {
    let text = chain(error);
    match code(&text) {
        // Who has no key is looked for one at the machine's cloud, which has none either.
        _ if text.contains(NO_KEYS) => keys_hint(),
        _ if text.contains(NO_TOKEN) => "check that token, `AWS_ROLE_ARN`, and that the service can be reached".to_owned(),
        _ if text.contains(NO_CONTAINER) => format!("check that it can be reached, or {}", keys_hint()),
        Some("NoSuchBucket") => match endpoint() {
            Some(endpoint) => format!("there is no bucket `{bucket}` at {endpoint}: create it, or check `AWS_ENDPOINT_URL`"),
            None => format!("there is no bucket `{bucket}`: create it, or check its name and `AWS_REGION`"),
        },
        Some("ExpiredToken" | "TokenRefreshRequired" | "RequestExpired") => {
            "the credentials have expired: set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` anew and run again; \
             what was journalled is kept"
                .to_owned()
        }
        Some("InvalidAccessKeyId") => "there is no such key: check `AWS_ACCESS_KEY_ID`".to_owned(),
        Some("SignatureDoesNotMatch" | "InvalidToken" | "AuthorizationHeaderMalformed") => {
            "check `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_REGION`".to_owned()
        }
        Some("RequestTimeTooSkewed") => "set this machine's clock: the store and it disagree by more than it allows".to_owned(),
        Some("PermanentRedirect") => format!("bucket `{bucket}` is in another region: set `AWS_REGION`"),
        _ if text.contains("without LOCATION") => format!("bucket `{bucket}` is in another region: set `AWS_REGION`"),
        Some("AccessDenied") => format!("allow {} on bucket `{bucket}` for {}", action.permission(), who()),
        _ if text.contains("403") => format!("allow {} on bucket `{bucket}` for {}", action.permission(), who()),
        _ => match endpoint() {
            Some(endpoint) => {
                format!("check that {endpoint} (`AWS_ENDPOINT_URL`) can be reached, and run again: nothing that was journalled is lost")
            }
            None => "check the network and run again: nothing that was journalled is lost".to_owned(),
        },
    }
}

/// Whom a bucket lets do something, or not.
fn who() -> &'static str {
    if variable("AWS_ACCESS_KEY_ID").is_some() { "the key in `AWS_ACCESS_KEY_ID`" } else { "the credentials in use" }
}

/// The error code in an answer of S3.
fn code(text: &str) -> Option<&str> {
    let start = text.find("<Code>")? + "<Code>".len();
    text[start..].split('<').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_words_that_help() {
        let error = std::io::Error::other(format!("Generic S3 error: {NO_KEYS}: Error performing PUT http://169.254.169.254"));
        assert!(hint("lake", Action::Read, &error).contains("set `AWS_ACCESS_KEY_ID`"));
        let refused = |body: &str| std::io::Error::other(format!("Server returned non-2xx status code: 403 Forbidden: {body}"));
        let of = |body: &str, action| hint("lake", action, &refused(body));
        assert_eq!(
            of("<Error><Code>AccessDenied</Code></Error>", Action::List),
            format!("allow s3:ListBucket on bucket `lake` for {}", who())
        );
        assert!(of("<Error><Code>ExpiredToken</Code></Error>", Action::Read).contains("AWS_SESSION_TOKEN"));
        assert!(of("<Error><Code>NoSuchBucket</Code></Error>", Action::Read).contains("no bucket `lake`"));
        assert!(of("", Action::Write).contains("s3:PutObject"));
    }
}
