//! The profile of the files that AWS tools share: static keys, region and endpoint.
//!
//! `~/.aws/credentials` and `~/.aws/config`, or what `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE` name; of them the
//! profile in `AWS_PROFILE`, or `default`. A profile that has to sign in, run a program or take on a role first is refused by
//! name: that is what the AWS command line is for.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::{env, fs};

use promptmill_core::{Error, Result, nearest};

use super::credentials::variable;

/// How a profile that is not read gives its keys all the same.
const EXPORT: &str = "eval \"$(aws configure export-credentials --format env)\"";

/// What a profile says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) keys: Option<Keys>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Keys as they stand in a file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The profile of the environment; `None` if it names none and no file has a `default`. Keys are wanted of it only where
/// nothing else gives some.
pub(super) fn of_environment(wants_keys: bool) -> Result<Option<Profile>> {
    let file = |name: &str, usual: &str| {
        let home = env::var_os("HOME").or_else(|| env::var_os("USERPROFILE")).map(|home| PathBuf::from(home).join(".aws").join(usual));
        let named = env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(path) = named.or(home) else { return Ok(String::new()) };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => {
                let hint = format!("make it readable, or name another with `{name}`");
                Err(Error::failed(format!("`{}` cannot be read", path.display())).hint(hint).because(error))
            }
        }
    };
    let named = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].into_iter().find_map(variable);
    let (credentials, config) = (file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?, file("AWS_CONFIG_FILE", "config")?);
    read(named.as_deref(), &credentials, &config, wants_keys)
}

/// The profile of this name in the texts of both files.
fn read(named: Option<&str>, credentials: &str, config: &str, wants_keys: bool) -> Result<Option<Profile>> {
    let name = named.unwrap_or("default");
    let (credentials, config) = (sections(credentials), sections(config));
    let in_config = config.get(&format!("profile {name}")).or_else(|| config.get(name).filter(|_| name == "default"));
    let in_credentials = credentials.get(name);
    if in_config.is_none() && in_credentials.is_none() {
        let Some(name) = named.filter(|_| wants_keys) else { return Ok(None) };
        let of_config = config.keys().map(|section| section.strip_prefix("profile ").unwrap_or(section));
        let known: Vec<&str> = credentials.keys().map(String::as_str).chain(of_config).collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is no profile at all: set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`".to_owned(),
            None => format!("known profiles: {}", known.join(", ")),
        };
        return Err(Error::failed(format!("there is no profile `{name}` (`AWS_PROFILE`) in the shared files of AWS")).hint(hint));
    }
    let said = |key: &str| in_credentials.and_then(|section| section.get(key)).or_else(|| in_config.and_then(|section| section.get(key)));
    let said = |key: &str| said(key).filter(|value| !value.is_empty()).cloned();
    // Keys belong together: both, and their token, come from one of the files.
    let keys_of = |section: Option<&BTreeMap<String, String>>| {
        let text = |key: &str| section?.get(key).filter(|value| !value.is_empty()).cloned();
        Some(Keys { id: text("aws_access_key_id")?, secret: text("aws_secret_access_key")?, token: text("aws_session_token") })
    };
    let keys = keys_of(in_credentials).or_else(|| keys_of(in_config)).filter(|_| wants_keys);
    let service = said("services").and_then(|services| config.get(&format!("services {services}"))?.get("s3.endpoint_url").cloned());
    let profile = Profile { keys, region: said("region"), endpoint: service.or_else(|| said("endpoint_url")) };
    let refused = |how: &str| {
        let message = format!("profile `{name}` {how}, which promptmill does not do by itself");
        Err(Error::failed(message)
            .hint(format!("run `{}` first", EXPORT.replace("credentials ", &format!("credentials --profile {name} ")))))
    };
    if !wants_keys {
        return Ok(Some(profile));
    }
    if said("role_arn").is_some() {
        return refused("takes on a role (`role_arn`)");
    }
    if ["sso_session", "sso_start_url", "sso_account_id"].into_iter().any(|key| said(key).is_some()) {
        return refused("signs in by SSO");
    }
    if profile.keys.is_none() && said("credential_process").is_some() {
        return refused("runs a program for its keys (`credential_process`)");
    }
    if profile.keys.is_none() && (said("aws_access_key_id").is_some() || said("aws_secret_access_key").is_some()) {
        let message = format!("profile `{name}` has one of `aws_access_key_id` and `aws_secret_access_key`, and not the other");
        return Err(Error::failed(message).hint("write both into the same file"));
    }
    if profile.keys.is_none() && named.is_some() {
        return Err(Error::failed(format!("profile `{name}` (`AWS_PROFILE`) has no keys"))
            .hint("add `aws_access_key_id` and `aws_secret_access_key` to it, or set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"));
    }
    Ok(Some(profile))
}

/// The sections of such a file, each with its settings; an indented setting belongs to the one above it: `s3.endpoint_url`.
fn sections(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let (mut section, mut above): (Option<String>, String) = (None, String::new());
    for line in text.trim_start_matches('\u{feff}').lines() {
        let (is_indented, plain) = (line.starts_with([' ', '\t']), without_comment(line).trim());
        if let Some(name) = plain.strip_prefix('[').and_then(|name| name.split_once(']')).map(|(name, _)| name) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ").replace(['"', '\''], "");
            sections.entry(name.clone()).or_default();
            section = Some(name);
        } else if let (Some((key, value)), Some(section)) = (plain.split_once('='), &section) {
            let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
            let is_nested = is_indented && !above.is_empty();
            let key = if is_nested { format!("{above}.{key}") } else { key };
            if !is_nested {
                above = if value.is_empty() { key.clone() } else { String::new() };
            }
            sections.entry(section.clone()).or_default().insert(key, value);
        }
    }
    sections
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with(['#', ';']) {
        return "";
    }
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|comment| line.find(comment)).min();
    &line[..end.unwrap_or(line.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\u{feff}# keys\n[default]\naws_access_key_id = AKD\naws_secret_access_key=a/b+c=\n\n[lake]  ; the lake\n\
        aws_access_key_id = AKL ; mine\naws_secret_access_key = SL\naws_session_token = TL\n\n[half]\naws_access_key_id = AKH\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile lake]\nregion = eu-west-1\nservices = own\n\
        [profile \"with space\"]\nendpoint_url = http://127.0.0.1:9000\n\
        [services own]\ns3 =\n  endpoint_url = https://s3.example.com\n  addressing_style = path\n[profile sso]\nsso_session = work\n\
        [profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n[profile program]\ncredential_process = /bin/keys\n";

    fn of(name: Option<&str>) -> Result<Option<Profile>> {
        read(name, CREDENTIALS, CONFIG, true)
    }

    fn refusal(name: &str) -> String {
        let Err(Error::Failed(failure)) = of(Some(name)) else { panic!("`{name}` is refused") };
        format!("{}; {}", failure.message, failure.hint.unwrap_or_default())
    }

    #[test]
    fn keys_region_and_endpoint_come_from_the_profile() {
        let keys = |id: &str, secret: &str, token: Option<&str>| {
            Some(Keys { id: id.to_owned(), secret: secret.to_owned(), token: token.map(str::to_owned) })
        };
        let lake = of(Some("lake")).expect("reads").expect("is there");
        assert_eq!(lake.keys, keys("AKL", "SL", Some("TL")));
        assert_eq!((lake.region.as_deref(), lake.endpoint.as_deref()), (Some("eu-west-1"), Some("https://s3.example.com")));
        let default = of(None).expect("reads").expect("is there");
        assert_eq!((default.keys, default.region.as_deref()), (keys("AKD", "a/b+c=", None), Some("eu-central-1")));
        assert_eq!(read(None, "", "", true).expect("reads"), None);
        let with_space = read(Some("with space"), CREDENTIALS, CONFIG, false).expect("reads").expect("is there");
        assert_eq!(with_space, Profile { endpoint: Some("http://127.0.0.1:9000".to_owned()), ..Profile::default() });
    }

    #[test]
    fn what_is_not_read_is_refused_by_name_with_what_to_do() {
        for (name, why) in [("sso", "SSO"), ("role", "role_arn"), ("program", "credential_process")] {
            let words = refusal(name);
            assert!(words.contains(&format!("profile `{name}`")) && words.contains(why), "{words}");
            assert!(words.contains(&format!("aws configure export-credentials --profile {name} --format env")), "{words}");
        }
        assert!(refusal("lak").contains("did you mean `lake`?"));
        assert!(refusal("half").contains("and not the other"));
        assert!(refusal("with space").contains("has no keys"));
        // Where the keys come from elsewhere, nobody minds.
        assert!(read(Some("nowhere"), CREDENTIALS, CONFIG, false).expect("reads").is_none());
        assert!(read(Some("sso"), CREDENTIALS, CONFIG, false).expect("reads").is_some());
    }
}
