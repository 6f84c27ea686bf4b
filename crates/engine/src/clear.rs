//! What would leave this machine in clear.

use std::net::IpAddr;

/// Whether what is sent to a URL leaves this machine without TLS.
pub(crate) fn goes_out_in_clear(url: &str) -> bool {
    let Some(rest) = url.trim().strip_prefix("http://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => host.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
