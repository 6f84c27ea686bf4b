//! Stores of other clouds: `az://` and `abfss://` by the feature `azure`, `gs://` by the feature `gcs`.
//!
//! Each is opened by the variables that its own tools take. Without the feature, and without anything that gives credentials, it
//! is refused by name: nobody waits for the metadata service of a cloud that this machine is not in.

use std::sync::Arc;

use object_store::ObjectStore;
use promptmill_core::{Error, Result};

/// A store, and what is meant inside it.
pub(super) struct Opened {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Which store it is.
    pub(super) url: String,
    /// The path in it.
    pub(super) inside: String,
}

/// A cloud, by the schemes of its URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Azure,
    Gcs,
}

impl Cloud {
    fn of(scheme: &str) -> Option<Self> {
        match scheme {
            "az" | "azure" | "adl" | "abfs" | "abfss" => Some(Self::Azure),
            "gs" | "gcs" => Some(Self::Gcs),
            _ => None,
        }
    }

    #[cfg_attr(all(feature = "azure", feature = "gcs"), allow(dead_code))]
    fn feature(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Gcs => "gcs",
        }
    }
}

/// Whether a scheme is one of these clouds.
pub(crate) fn is_known(scheme: &str) -> bool {
    Cloud::of(scheme).is_some()
}

/// The store of a URL; `None` if it is of no such cloud.
pub(super) fn open(path: &str) -> Option<Result<Opened>> {
    let (scheme, rest) = path.split_once("://")?;
    let cloud = Cloud::of(scheme)?;
    let (authority, inside) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty() {
        let what = if cloud == Cloud::Azure { "container" } else { "bucket" };
        return Some(Err(Error::failed(format!("`{path}` names no {what}"))));
    }
    let (container, account) = match authority.split_once('@') {
        Some((container, host)) => (container, Some(host)),
        None => (authority, None),
    };
    let url = match (cloud, account.and_then(|host| host.split('.').next())) {
        (Cloud::Azure, Some(account)) => format!("az://{container}.{account}"),
        (Cloud::Azure, None) => format!("az://{container}"),
        (Cloud::Gcs, _) => format!("gs://{container}"),
    };
    Some(store(cloud, (&url, path), container, account).map(|store| Opened { store, url, inside: inside.to_owned() }))
}

#[cfg(not(any(feature = "azure", feature = "gcs")))]
fn store(cloud: Cloud, (_, path): (&str, &str), _container: &str, _account: Option<&str>) -> Result<Arc<dyn ObjectStore>> {
    Err(without(cloud, path))
}

/// What to say where the feature is not there.
#[cfg_attr(all(feature = "azure", feature = "gcs"), allow(dead_code))]
fn without(cloud: Cloud, path: &str) -> Error {
    let feature = cloud.feature();
    Error::failed(format!("this promptmill was built without `{feature}`, and `{path}` lies there")).hint(format!(
        "build it with the feature: `cargo install --path crates/cli --features {feature}`; or use a local path or `s3://bucket/folder`"
    ))
}

#[cfg(any(feature = "azure", feature = "gcs"))]
fn store(cloud: Cloud, (url, path): (&str, &str), container: &str, account: Option<&str>) -> Result<Arc<dyn ObjectStore>> {
    use std::collections::HashMap;
    use std::sync::{Mutex, PoisonError};

    /// The stores of this process: connections are shared, and credentials fetched once.
    static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);

    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    if let Some(store) = stores.get(url) {
        return Ok(Arc::clone(store));
    }
    let store = match cloud {
        #[cfg(feature = "azure")]
        Cloud::Azure => azure::open(container, account)?,
        #[cfg(not(feature = "azure"))]
        Cloud::Azure => return Err(without(cloud, path)),
        #[cfg(feature = "gcs")]
        Cloud::Gcs => gcs::open(container)?,
        #[cfg(not(feature = "gcs"))]
        Cloud::Gcs => return Err(without(cloud, path)),
    };
    // Only one of the clouds knows accounts, and only what is not built needs the path.
    let _ = (account, path);
    stores.insert(url.to_owned(), Arc::clone(&store));
    Ok(store)
}

#[cfg(feature = "azure")]
mod azure {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
    use promptmill_core::{Error, Result};

    use crate::storage::credentials::{is_set_true, variable};
    use crate::storage::s3::{client, patience};
    use crate::storage::whole::WholeResponses;

    /// Variables of which one is set where somebody is to be asked, or knows, who this is.
    const GIVERS: [&str; 14] = [
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_MASTER_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_TOKEN",
        "AZURE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_OBJECT_ID",
        "AZURE_MSI_RESOURCE_ID",
        "AZURE_MSI_ENDPOINT",
        "IDENTITY_ENDPOINT",
        "AZURE_BEARER_TOKEN",
    ];

    pub(super) fn open(container: &str, host: Option<&str>) -> Result<Arc<dyn ObjectStore>> {
        let is_open = ["AZURE_USE_EMULATOR", "AZURE_STORAGE_USE_EMULATOR", "AZURE_SKIP_SIGNATURE", "AZURE_USE_AZURE_CLI"];
        if !is_open.into_iter().any(is_set_true) && !GIVERS.into_iter().any(|name| variable(name).is_some()) {
            return Err(Error::failed(format!("no credentials were found for container `{container}`")).hint(
                "set `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_SAS_TOKEN`; `AZURE_CLIENT_ID` for \
                 an identity; or `AZURE_USE_AZURE_CLI=true`",
            ));
        }
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_container_name(container)
            .with_retry(patience())
            .with_http_connector(WholeResponses::default());
        for (key, value) in client() {
            builder = builder.with_config(AzureConfigKey::Client(key), value);
        }
        if let Some(host) = host {
            builder = builder.with_url(format!("abfss://{container}@{host}"));
        }
        let failed = |error| {
            Error::failed(format!("container `{container}` cannot be opened"))
                .hint("check the AZURE_* variables of the environment")
                .because(error)
        };
        Ok(Arc::new(builder.build().map_err(failed)?))
    }
}

#[cfg(feature = "gcs")]
mod gcs {
    use std::net::ToSocketAddrs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
    use promptmill_core::{Error, Result};

    use crate::storage::credentials::{is_set_true, variable};
    use crate::storage::s3::{client, patience};
    use crate::storage::whole::WholeResponses;

    const GIVERS: [&str; 7] = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS_PATH",
        "GOOGLE_BEARER_TOKEN",
        "SERVICE_ACCOUNT",
    ];

    pub(super) fn open(bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        let of_user = || {
            let home = std::env::var_os("HOME").map(PathBuf::from);
            home.is_some_and(|home| home.join(".config/gcloud/application_default_credentials.json").exists())
        };
        // A machine of that cloud knows its metadata service by name, and no other does.
        let is_there = || ("metadata.google.internal", 80).to_socket_addrs().is_ok();
        let has_some =
            is_set_true("GOOGLE_SKIP_SIGNATURE") || GIVERS.into_iter().any(|name| variable(name).is_some()) || of_user() || is_there();
        if !has_some {
            return Err(Error::failed(format!("no credentials were found for bucket `{bucket}`")).hint(
                "set `GOOGLE_APPLICATION_CREDENTIALS` to the file of a service account, or run `gcloud auth application-default login`",
            ));
        }
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(bucket)
            .with_retry(patience())
            .with_http_connector(WholeResponses::default());
        for (key, value) in client() {
            builder = builder.with_config(GoogleConfigKey::Client(key), value);
        }
        let failed = |error| {
            Error::failed(format!("bucket `{bucket}` cannot be opened"))
                .hint("check the GOOGLE_* variables of the environment")
                .because(error)
        };
        Ok(Arc::new(builder.build().map_err(failed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_known_by_their_schemes_and_refused_by_name_without_their_feature() {
        assert!(open("s3://bucket/x").is_none() && open("/local/x").is_none() && open("ftp://host/x").is_none());
        for (path, feature, is_built) in [
            ("az://container/in", "azure", cfg!(feature = "azure")),
            ("abfss://container@account.dfs.core.windows.net/in", "azure", cfg!(feature = "azure")),
            ("gs://bucket/in", "gcs", cfg!(feature = "gcs")),
        ] {
            match open(path) {
                Some(Err(Error::Failed(failure))) if !is_built => {
                    let hint = failure.hint.unwrap_or_default();
                    assert!(failure.message.contains(&format!("`{feature}`")) && hint.contains(&format!("--features {feature}")), "{hint}");
                }
                Some(opened) if is_built => drop(opened),
                _ => panic!("`{path}` is refused"),
            }
        }
        assert!(open("gs:///in").is_some_and(|opened| opened.is_err()));
    }
}
