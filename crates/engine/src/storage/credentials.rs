//! Who a bucket is opened as: the keys of the environment, of a profile, of a container or of the machine.
//!
//! Whatever there is works, and what is missing is told within seconds: nobody waits for the metadata service of a cloud
//! that this machine is not in.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::{BackoffConfig, ClientConfigKey, CredentialProvider, RetryConfig};
use promptmill_core::{Error, Result};

use super::profile;

/// What an error says where nobody gives keys to this process.
pub(super) const NO_KEYS: &str = "no credentials were found";
/// The same where somebody should, and did not.
pub(super) const NO_TOKEN: &str = "the token in `AWS_WEB_IDENTITY_TOKEN_FILE` was not exchanged for credentials";
pub(super) const NO_CONTAINER: &str = "the service of the container (`AWS_CONTAINER_CREDENTIALS_…`) gave no credentials";

/// A variable that is set to something.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

pub(super) fn is_set_true(name: &str) -> bool {
    variable(name).is_some_and(|value| ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str()))
}

/// Who gives the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Giver {
    /// The environment, a profile, or nobody, as nothing is signed.
    Known,
    /// A token in a file, which a service of AWS exchanges.
    WebIdentity,
    /// A service beside this container.
    Container,
    /// A service of the cloud that this machine may be in.
    Machine,
}

impl Giver {
    /// How long one request for keys may take, and all tries together, as long as there have never been any.
    fn patience(self) -> (&'static str, Duration) {
        match self {
            Self::WebIdentity => ("5 seconds", Duration::from_secs(10)),
            Self::Known | Self::Container | Self::Machine => ("2 seconds", Duration::from_secs(4)),
        }
    }

    /// What to say where there are none.
    fn failure(self) -> &'static str {
        match self {
            Self::WebIdentity => NO_TOKEN,
            Self::Container => NO_CONTAINER,
            Self::Known | Self::Machine => NO_KEYS,
        }
    }
}

/// What the environment and its profile say.
#[derive(Debug)]
pub(super) struct Identity {
    giver: Giver,
    profile: Option<profile::Profile>,
}

impl Identity {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Result<Self> {
        let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let [there, missing] =
            if id.is_some() { ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] } else { ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"] };
        if id.is_some() != secret.is_some() {
            return Err(Error::failed(format!("`{there}` is set, and `{missing}` is not")).hint(format!("export {missing}=…")));
        }
        let has_web_identity = variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() && variable("AWS_ROLE_ARN").is_some();
        let has_keys = id.is_some() || is_set_true("AWS_SKIP_SIGNATURE");
        let profile = profile::of_environment(!has_keys && !has_web_identity)?;
        let giver = match &profile {
            _ if has_keys => Giver::Known,
            _ if has_web_identity => Giver::WebIdentity,
            Some(profile) if profile.keys.is_some() => Giver::Known,
            _ => asked()?,
        };
        Ok(Self { giver, profile })
    }

    /// The endpoint that the profile names, if there is one.
    pub(super) fn endpoint(&self) -> Option<String> {
        let is_ignored = is_set_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
        self.profile.as_ref().filter(|_| !is_ignored)?.endpoint.clone()
    }

    /// Whether a variable of the environment is meant for the keys that are used: a session belongs to its keys.
    pub(super) fn is_meant(&self, name: &str) -> bool {
        !(name == "AWS_SESSION_TOKEN" && self.profile.as_ref().is_some_and(|profile| profile.keys.is_some()))
    }

    /// Adds to a store what the environment has not said itself.
    pub(super) fn add_to(&self, mut builder: AmazonS3Builder) -> AmazonS3Builder {
        let Some(profile) = &self.profile else { return builder };
        let is_said = |names: &[&str]| names.iter().any(|name| variable(name).is_some());
        if let Some(region) = profile.region.as_ref().filter(|_| !is_said(&["AWS_REGION", "AWS_DEFAULT_REGION"])) {
            builder = builder.with_region(region);
        }
        if let Some(keys) = &profile.keys {
            builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
            if let Some(token) = &keys.token {
                builder = builder.with_token(token);
            }
        }
        builder
    }

    /// Where keys are asked for, gives up within seconds until there have been some.
    pub(super) fn hurried(&self, builder: AmazonS3Builder) -> object_store::Result<AmazonS3Builder> {
        if self.giver == Giver::Known {
            return Ok(builder);
        }
        let (one_try, all_tries) = self.giver.patience();
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(1), base: 2.0 },
            max_retries: 2,
            retry_timeout: all_tries,
        };
        let hurried = builder.clone().with_retry(retry);
        let hurried = hurried.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), one_try);
        let hurried = hurried.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), one_try);
        let (first, later) = (Arc::clone(hurried.build()?.credentials()), Arc::clone(builder.clone().build()?.credentials()));
        let failure = self.giver.failure();
        Ok(builder.with_credentials(Arc::new(Hurried { first, later, failure, has_worked: AtomicBool::new(false) })))
    }
}

/// Who is asked for keys where there are none; an error where that is pointless.
fn asked() -> Result<Giver> {
    let full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    if variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some() {
        return Ok(Giver::Container);
    }
    if variable(full).is_some() {
        let token = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        return match variable(token) {
            Some(_) => Ok(Giver::Container),
            None => Err(Error::failed(format!("`{full}` is set, and `{token}` is not, without which promptmill cannot ask there"))
                .hint("set it, or `eval \"$(aws configure export-credentials --format env)\"`")),
        };
    }
    if is_set_true("AWS_EC2_METADATA_DISABLED") {
        return Err(Error::failed(NO_KEYS).hint(keys_hint()));
    }
    Ok(Giver::Machine)
}

/// What to set where there are no keys.
pub(super) fn keys_hint() -> String {
    "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; or `AWS_PROFILE` to a profile with keys in `~/.aws/credentials`".to_owned()
}

/// Keys that are asked for: in a hurry until there have been some, later with the patience of everything else.
#[derive(Debug)]
struct Hurried {
    first: AwsCredentialProvider,
    later: AwsCredentialProvider,
    /// What to say where there never are any.
    failure: &'static str,
    has_worked: AtomicBool,
}

#[async_trait]
impl CredentialProvider for Hurried {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if self.has_worked.load(Relaxed) {
            return self.later.get_credential().await;
        }
        let found = self.first.get_credential().await.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(NoKeys { failure: self.failure, source: error }),
        })?;
        self.has_worked.store(true, Relaxed);
        Ok(found)
    }
}

/// Nobody gave keys.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
struct NoKeys {
    failure: &'static str,
    source: object_store::Error,
}
