//! Who a bucket is opened as: what AWS tools share works, and what does not is refused with what to set. Nothing here waits
//! for a service that is not there: where one is asked, it is a port of this machine at which nobody listens.

use super::Job;
use crate::bucket::Bucket;
use crate::support::{Project, Ran};

const NOBODY: &str = "http://127.0.0.1:9";

/// The shared files of a project, for its commands.
fn share(project: &mut Project, profile: Option<&str>, credentials: &str, config: &str) {
    project.write("credentials", credentials);
    project.write("config", config);
    let path = |name: &str| project.path(name).to_string_lossy().into_owned();
    project.environment = vec![
        ("AWS_SHARED_CREDENTIALS_FILE", path("credentials")),
        ("AWS_CONFIG_FILE", path("config")),
        ("AWS_METADATA_ENDPOINT", NOBODY.to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
    ];
    project.environment.extend(profile.map(|profile| ("AWS_PROFILE", profile.to_owned())));
}

fn in_bucket(bucket: &str) -> (Job, Project) {
    let mut job = Job::new("http://127.0.0.1:9");
    job.source = format!("path = \"s3://{bucket}/in\"\nkey = \"id\"");
    let project = job.project(&["amber"]);
    (job, project)
}

#[track_caller]
fn assert_says(ran: &Ran, words: &[&str]) {
    assert!(ran.code == 1 || ran.code == 2, "{}", ran.stderr);
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?}: {}", ran.stderr);
}

#[test]
fn a_profile_with_keys_opens_its_bucket() {
    let Some(bucket) = Bucket::start() else { return };
    let mut project = Project::new();
    project.motions(20);
    bucket.put("in/motions.parquet", std::fs::read(project.path("motions.parquet")).expect("motions"));
    let endpoint = bucket.environment().into_iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL").expect("an endpoint").1;
    let pipeline = "name = \"job\"\n[source]\npath = \"s3://lake/in\"\nkey = \"motion_id\"\n[[stages]]\nuse = \"prompt-pack\"\nprompt = \"Leg uit.\"\n\
                    item = \"{{ title }}\"\n[[stages]]\nuse = \"llm\"\nmodel = \"builtin/extractive\"\n[sink]\npath = \"s3://lake/out/results\"\n";
    project.write("pipeline.toml", pipeline);
    let config = format!("[profile lake]\nregion = eu-west-1\nendpoint_url = {endpoint}\n");
    share(
        &mut project,
        Some("lake"),
        "[lake]\naws_access_key_id = testing\naws_secret_access_key = testing\naws_session_token = t\n",
        &config,
    );
    let summary = project.run_pipeline(&[]).expect(0).json();
    assert_eq!(summary["rows"]["answered"], 20, "{summary}");
    // The default profile serves where none is named.
    let config = format!("[default]\nendpoint_url = {endpoint}\n");
    share(&mut project, None, "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n", &config);
    assert_eq!(project.number("SELECT count(*) FROM results"), 20.0);
}

#[test]
fn profiles_that_are_not_read_are_refused_by_name() {
    let (_, mut project) = in_bucket("lake");
    let config = "[profile sso]\nsso_session = work\n[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = lake\n\
                  [profile program]\ncredential_process = /bin/keys\n[profile bare]\nregion = eu-west-1\n";
    for (profile, words) in [
        ("sso", ["`sso`", "SSO", "aws configure export-credentials --profile sso --format env"]),
        ("role", ["`role`", "role_arn", "aws configure export-credentials --profile role --format env"]),
        ("program", ["`program`", "credential_process", "--profile program"]),
        ("bare", ["`bare`", "has no keys", "aws_access_key_id"]),
        ("prgram", ["no profile `prgram`", "AWS_PROFILE", "did you mean `program`?"]),
    ] {
        share(&mut project, Some(profile), "", config);
        assert_says(&project.run(&["check", "pipeline.toml"]), &words);
    }
}

#[test]
fn where_nobody_gives_keys_that_is_said_and_not_waited_for() {
    let (_, mut project) = in_bucket("lake");
    let keys = ["no credentials were found", "set `AWS_ACCESS_KEY_ID`", "AWS_PROFILE"];
    share(&mut project, None, "", "");
    assert_says(&project.run(&["check", "pipeline.toml"]), &keys);
    project.environment.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
    assert_says(&project.run(&["check", "pipeline.toml"]), &keys);
    share(&mut project, None, "", "");
    project.environment.push(("AWS_ACCESS_KEY_ID", "AK".to_owned()));
    assert_says(&project.run(&["check", "pipeline.toml"]), &["`AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not"]);
    share(&mut project, None, "", "");
    project.environment.push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{NOBODY}/keys")));
    assert_says(&project.run(&["check", "pipeline.toml"]), &["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "export-credentials"]);
    project.write("token", "t");
    project.environment.push(("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", project.path("token").to_string_lossy().into_owned()));
    assert_says(&project.run(&["check", "pipeline.toml"]), &["the service of the container", "gave no credentials"]);
}
