//! What the pipeline file says of a server, made ready for use: its address, its headers, its client.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use promptmill_core::{Error, ErrorKind, ProviderSpec};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Url, redirect, retry};

use super::reach::causes;
use super::stale::Noted;
use crate::clear::is_loopback;

const USER_AGENT: &str = concat!("promptmill/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const POOL_IDLE: Duration = Duration::from_secs(60);
/// What the client has to set itself for a request to be readable.
const OWN_HEADERS: [&str; 6] = ["accept-encoding", "connection", "content-encoding", "content-length", "content-type", "transfer-encoding"];

/// A client that keeps its connections, or one that opens a new one for every request; either says when it has opened one.
pub(super) fn open_client(name: &str, base: &Url, headers: &HeaderMap, keeps: bool, connected: &Arc<AtomicBool>) -> Result<Client, Error> {
    let mut headers = headers.clone();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    // An error means that somebody has chosen a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || -> ClientBuilder {
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers.clone())
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            // What is packed is seen by what it is.
            .gzip(false)
            .connector_layer(Noted(Arc::clone(connected)));
        let builder = if keeps { builder } else { builder.pool_max_idle_per_host(0) };
        if !is_loopback(base) {
            return builder;
        }
        let direct = builder.no_proxy();
        // Reading the machine's certificates is most of the work of opening a client, and nobody asks for them here.
        if base.scheme() == "http" { direct.tls_certs_only([]) } else { direct }
    };
    // Without certificates on the machine no client opens, which a server without TLS need not mind.
    let client = builder().build().or_else(|error| match base.scheme() {
        "http" => builder().tls_certs_only([]).build(),
        _ => Err(error),
    });
    client.map_err(|error| {
        Error::failed(format!("provider `{name}` cannot be opened: {}", causes(&error)))
            .hint("certificates come with the package `ca-certificates`; `SSL_CERT_FILE` can name another file of them")
    })
}

pub(super) fn read_base_url(name: &str, text: &str) -> Result<Url, Error> {
    let wrong = |what: &str| Error::failed(format!("the base URL of provider `{name}` {what}"));
    let example = "write it like `https://openrouter.ai/api/v1`: all that stands in front of `/chat/completions`";
    let mut url = Url::parse(text.trim()).map_err(|error| wrong(&format!("is no URL: {error}")).hint(example))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("does not begin with `http://` or `https://`").hint(example));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            wrong("holds a user name or a password").hint("put the key into the environment and its variable's name into `api_key_env`")
        );
    }
    if url.path().trim_end_matches('/').ends_with("/chat/completions") {
        return Err(wrong("goes too far").hint(example));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The base URL with more segments; its query, such as Azure's `api-version`, stays.
pub(super) fn join(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

pub(super) fn key_header(name: &str, spec: &ProviderSpec, key: &str) -> Result<HeaderValue, Error> {
    let variable = spec.api_key_env.as_deref().unwrap_or("api_key_env");
    let wrong = |what: &str| {
        Error::failed(format!("the key of provider `{name}` {what}"))
            .of(ErrorKind::Credentials)
            .hint(format!("look at the variable `{variable}`"))
    };
    if key.is_empty() {
        return Err(wrong("is empty"));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| wrong("holds characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A header of the pipeline file. One that by its name holds a secret is treated as the key is.
pub(super) fn read_header(name: &str, header: &str, value: &str, secrets: &mut Vec<String>) -> Result<(HeaderName, HeaderValue), Error> {
    let wrong = |what: &str| Error::failed(format!("the header `{header}` of provider `{name}` {what}"));
    let parsed =
        HeaderName::from_bytes(header.as_bytes()).map_err(|_| wrong("is no name of a header").hint("use letters, digits and hyphens"))?;
    if OWN_HEADERS.contains(&parsed.as_str()) {
        return Err(wrong("cannot be set: it follows from the request").hint("leave it out"));
    }
    let mut sent = HeaderValue::from_str(value)
        .map_err(|_| wrong("has a value that cannot be sent").hint("use printable ASCII characters on one line"))?;
    if sounds_secret(parsed.as_str()) {
        sent.set_sensitive(true);
        // `Bearer abc`: an echo may hold the last word alone.
        secrets.push(value.to_owned());
        secrets.extend(value.split_whitespace().last().map(str::to_owned));
    }
    Ok((parsed, sent))
}

pub(super) fn sounds_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["auth", "key", "token", "secret", "cookie"].iter().any(|word| name.contains(word))
}
