use super::*;

fn load(text: &str) -> Result<Config, String> {
    let file = parse(text)?;
    resolve(&Overrides::default(), file, None).map_err(|error| error.to_string())
}

fn complaint(text: &str) -> String {
    load(text).expect_err("this configuration is wrong")
}

#[test]
fn nothing_said_is_a_server_on_loopback() {
    let config = load("").unwrap();
    assert_eq!(config.listen, [Listen::Tcp("127.0.0.1:7420".parse().unwrap())]);
    assert_eq!(config.data, PathBuf::from("./tenure-data"));
    assert_eq!(config.settings.hold, Duration::from_secs(25));
    assert_eq!(config.settings.drain, Duration::from_secs(30));
    assert_eq!(config.settings.durability, Durability::Disk);
}

#[test]
fn a_flag_is_over_the_file() {
    let file = parse("[server]\nlisten = [\"127.0.0.1:1\"]\ndrain = \"1s\"\nname = \"a\"").unwrap();
    let flags = Overrides {
        listen: Some(vec!["unix:/run/t.sock".into(), "[::1]:7".into()]),
        drain: Some("5m".into()),
        durability: Some("memory".into()),
        ..Overrides::default()
    };
    let config = resolve(&flags, file, None).unwrap();
    assert_eq!(config.listen[0], Listen::Unix("/run/t.sock".into()));
    assert_eq!(config.listen[1], Listen::Tcp("[::1]:7".parse().unwrap()));
    assert_eq!(config.settings.drain, Duration::from_secs(300));
    assert_eq!(config.settings.name, "a");
    assert_eq!(config.settings.durability, Durability::Memory);
}

#[test]
fn an_unknown_key_stops_the_start_and_names_its_neighbours() {
    let complaint = complaint("[server]\nlissen = []");
    assert!(complaint.contains("lissen") && complaint.contains("listen"), "{complaint}");
    assert!(complaint.contains("line 2"), "{complaint}");
}

#[test]
fn a_key_of_a_later_version_is_told_apart_from_a_typing_error() {
    assert!(complaint("[backend]\nstore = \"etcd://x\"").contains("`backend.store`"));
    assert!(complaint("[zmq]\nbind = \"tcp://127.0.0.1:1\"").contains("ZeroMQ is not in this"));
    assert!(complaint("[zmq]\nbnid = \"\"").contains("unknown field `bnid`"));
}

/// The sample that all versions share, with everything in it that any version knows.
const SAMPLE: &str = include_str!("sample.toml");
const CLUSTER: &str = r#"
[cluster]
node_id          = 1
peer_listen      = "10.0.0.5:7521"
peers            = { 1 = "10.0.0.5:7521", 2 = "10.0.0.6:7521", 3 = "10.0.0.7:7521" }
peer_secret_file = "/etc/tenure/peer-secret"
"#;

#[test]
fn the_sample_of_all_versions_is_understood_but_for_what_this_one_cannot_do() {
    let config = load(SAMPLE).unwrap();
    assert_eq!((config.listen.len(), config.keys.len()), (2, 2));
    assert_eq!(config.settings.drain, Duration::from_secs(30));
    // Who asks for three nodes must not get one.
    let complaint = complaint(&format!("{SAMPLE}{CLUSTER}"));
    assert!(
        complaint.contains("`cluster.peers`") && complaint.contains("remove it"),
        "{complaint}"
    );
}

#[test]
fn plain_http_beyond_loopback_must_be_asked_for() {
    let far = "[server]\nlisten = [\"0.0.0.0:7420\"]";
    assert!(complaint(far).contains("--insecure"));
    assert!(load(&format!("{far}\ninsecure = true")).is_ok());
    assert!(load(&format!("{far}\n[tls]\ncert = \"c\"\nkey = \"k\"")).is_ok());
    assert!(complaint("[server]\nadmin_listen = \"10.0.0.1:1\"").contains("10.0.0.1:1"));
}

#[test]
fn half_a_certificate_is_refused() {
    assert!(complaint("[tls]\ncert = \"c\"").contains("tls.key"));
    assert!(complaint("[tls]\nkey = \"k\"").contains("tls.cert"));
    assert!(complaint("[tls]\nclient_ca = \"ca\"").contains("tls.client_ca"));
    assert!(load("[tls]\nclient_ca = \"\"").is_ok());
}

#[test]
fn a_key_has_a_hash_roles_prefixes_and_limits() {
    let hash = "00".repeat(31) + "fF";
    let config = load(&format!(
        "[[keys]]\nname = \"ci\"\nsha256 = \"{hash}\"\nroles = [\"lock\"]\nprefixes = [\"ci/\"]\nmax_ttl = \"1h\"\nheld = 3"
    ))
    .unwrap();
    let key = &config.keys[0];
    assert_eq!(key.sha256.unwrap()[31], 0xff);
    assert_eq!(key.ttl_max, Some(Duration::from_secs(3600)));
    assert_eq!(key.quota.as_ref().unwrap().held_max, Some(3));
    assert!(
        complaint("[[keys]]\nname = \"a\"\nsha256 = \"12\"\nroles = [\"read\"]")
            .contains("sha256sum")
    );
    assert!(complaint("[[keys]]\nname = \"a\"\nroles = [\"god\"]").contains("operator"));
    let twice = "[[keys]]\nname = \"a\"\nroles = [\"read\"]\n".repeat(2);
    assert!(complaint(&twice).contains("twice"));
}

#[test]
fn values_that_make_no_sense_are_refused_by_name() {
    for (text, name) in [
        ("[server]\nhold = \"11m\"", "server.hold"),
        ("[server]\nhold = -1", "hold"),
        ("[server]\nlisten = [\"nowhere\"]", "nowhere"),
        ("[server]\nlisten = []", "listen"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ("[limits]\nconnections_per_address = 0", "limits.connections_per_address"),
        ("[server]\nidle_timeout = 0", "server.idle_timeout"),
        ("[server]\ncors_origins = [\"example.org\"]", "server.cors_origins"),
        ("[server]\ncors_origins = [\"https://example.org/\"]", "server.cors_origins"),
        ("[server]\ncors_origins = [\"*\"]", "server.cors_origins"),
        ("[[keys]]\nname = \"a/b\"\nroles = [\"read\"]", "keys.a/b"),
        ("[[keys]]\nname = \"..\"\nroles = [\"read\"]", "keys..."),
        ("[[keys]]\nname = \"a\"\nroles = []", "roles"),
        ("[[keys]]\nname = \"a\"\nroles = [\"read\", \"read\"]", "roles"),
        ("[[keys]]\nname = \"a\"\nroles = [\"read\"]\nmax_ttl = \"99ms\"", "max_ttl"),
        (
            "[[keys]]\nname = \"a\"\nroles = [\"read\"]\nrequests_per_second = 0",
            "requests_per_second",
        ),
        ("[log]\nlevel = \"bogus\"", "log.level"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("[log]\nlevel = \"a=b=c\"", "log.level"),
        ("[backend]\ndurability = \"hope\"", "durability"),
    ] {
        let complaint = complaint(text);
        assert!(complaint.contains(name), "{text}: {complaint}");
    }
}

#[test]
fn two_keys_with_one_secret_are_refused() {
    let hash = "ab".repeat(32);
    let key = |name: &str| {
        format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{hash}\"\nroles = [\"read\"]\n")
    };
    assert!(load(&key("a")).is_ok());
    assert!(complaint(&(key("a") + &key("b"))).contains("keys.b: another key has the same sha256"));
    assert!(
        load("[server]\ncors_origins = [\"https://example.org\", \"http://localhost:8080\"]")
            .is_ok()
    );
}

#[test]
fn what_is_wrong_in_a_file_is_told_in_one_line() {
    for text in ["[server]\nlissen = 1\n", "[server\n", "a = \"\nb = 1", "[server]\nhold = \"x\"\n"]
    {
        let complaint = complaint(text);
        assert!(complaint.contains("line ") && !complaint.contains('\n'), "{complaint:?}");
    }
}
