//! What would leave this machine in clear.

use std::net::IpAddr;

use reqwest::Url;

/// Whether a server is on this machine, where no proxy can reach it and nobody listens.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether what is sent to a URL leaves this machine without TLS.
pub fn goes_out_in_clear(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url))
}

/// A base URL as it may be shown: what stands in its query, or before an `@`, may be a secret.
pub fn without_query(base_url: &str) -> String {
    let shown = base_url.split(['?', '#']).next().unwrap_or_default();
    let hidden = if shown.len() < base_url.len() { "?…" } else { "" };
    match shown.split_once("://") {
        Some((scheme, rest)) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
            format!("{scheme}://…@{}{hidden}", rest.split_once('@').map_or(rest, |(_, rest)| rest))
        }
        _ => format!("{shown}{hidden}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_trusted_with_plain_http() {
        for url in ["http://127.0.0.1:9000/v1", "http://localhost", "http://[::1]:9000/x", "https://example.org", "https://10.0.0.1"] {
            assert!(!goes_out_in_clear(url), "{url}");
        }
        for url in [
            "http://minio:9000",
            "http://10.0.0.1",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org:80",
            "http://localhost@example.org/v1",
            "http://0.0.0.0:8000",
        ] {
            assert!(goes_out_in_clear(url), "{url}");
        }
    }
}
